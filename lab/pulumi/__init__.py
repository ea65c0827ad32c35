"""`lab up`: the stack's own program on a small engine with Pulumi's semantics, over the provider in lab/provider."""
