"""What AWS says about the source, the target and their parameter groups. Reads only."""

from encryptdb.controller.engines import Engine
from encryptdb.controller.preflight.facts import CloudFacts
from encryptdb.stacks.contract.outputs import Outputs


def read_cloud(engine: Engine, outputs: Outputs) -> CloudFacts:
    """Describe both sides and the user-set parameters of their groups. Raises a Problem where AWS does not answer."""
    free, unknown = engine.free_bytes(outputs.source.identifier)
    return CloudFacts(
        source=engine.find(outputs.source.identifier),
        target=engine.find(outputs.target.identifier) if outputs.target is not None else None,
        groups={
            group: engine.user_parameters(group)
            for group in sorted({g for g in (outputs.source_parameter_group, outputs.target_parameter_group) if g})
        },
        free_bytes=free,
        free_unknown=unknown,
    )
