"""What the real Pulumi engine asks of a machine, served by the lab: the AWS provider, and a host for Python programs.

The provider is lab/provider, the same that `lab up` runs in-process. The language host is only used where the `pulumi`
on PATH came without one.
"""
