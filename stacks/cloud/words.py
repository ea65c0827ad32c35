"""What a DB instance and a DB cluster are called: in messages, in AWS's API, and on the `aws` command line. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from encryptdb.stacks.contract.outputs import Engine, Side


@dataclass(frozen=True)
class Words:
    """One of the two kinds. `what` names it in a sentence, `noun` is as in "DB instance" and `aws rds modify-db-…`,
    `replica` the command that makes a read replica of a TARGET, `infix` as in DescribeDB(Cluster)Snapshots,
    `resource_id` the API's key of what stays when it is renamed."""

    what: str
    noun: Literal["instance", "cluster"]
    infix: Literal["", "Cluster"]
    resource_id: str
    replica: str

    @property
    def group(self) -> Literal["parameter-group", "cluster-parameter-group"]:
        """As in `aws rds modify-db-parameter-group`."""
        return "cluster-parameter-group" if self.infix else "parameter-group"

    @property
    def listed_as(self) -> str:
        """The API's key of a list of such identifiers."""
        return f"DB{self.noun.title()}Identifiers"

    def key(self, thing: str) -> str:
        """AWS's name of a thing of this kind: of `Snapshot`, DBSnapshot or DBClusterSnapshot."""
        return f"DB{self.infix}{thing}"

    def operation(self, things: str) -> str:
        """boto3's name of the operation that lists them: of `snapshots`, describe_db(_cluster)_snapshots."""
        return "_".join(part for part in ("describe_db", self.infix.lower(), things) if part)

    def describe(self, identifier: str) -> str:
        return f"aws rds describe-db-{self.noun}s --db-{self.noun}-identifier {identifier}"

    def events(self, identifier: str) -> str:
        return f"aws rds describe-events --source-identifier {identifier} --source-type db-{self.noun}"

    def modify(self, identifier: str, *options: str) -> str:
        return " ".join((f"aws rds modify-db-{self.noun} --db-{self.noun}-identifier {identifier}", *options))

    def attach(self, identifier: str, group: str) -> str:
        return self.modify(identifier, "--apply-immediately", f"--db-{self.group}-name {group}")

    def delete(self, identifier: str) -> str:
        return f"aws rds delete-db-{self.noun} --db-{self.noun}-identifier {identifier}"

    def delete_snapshot(self, identifier: str) -> str:
        thing = f"{self.infix.lower()}-snapshot".lstrip("-")
        return f"aws rds delete-db-{thing} --db-{thing}-identifier {identifier}"

    def reboot(self, side: Side) -> str:
        """Of a cluster, each member is rebooted by itself: this names the writer."""
        return f"aws rds reboot-db-instance --db-instance-identifier {(side.members or (side.identifier,))[0]}"

    def set_parameters(self, group: str, values: Mapping[str, int]) -> str:
        settings = (f"ParameterName={n},ParameterValue={v},ApplyMethod=pending-reboot" for n, v in values.items())
        return f"aws rds modify-db-{self.group} --db-{self.group}-name {group} --parameters {' '.join(settings)}"


INSTANCE = Words(
    "the RDS instance",
    "instance",
    "",
    "DbiResourceId",
    "aws rds create-db-instance-read-replica --source-db-instance-identifier TARGET …",
)
CLUSTER = Words(
    "the Aurora cluster",
    "cluster",
    "Cluster",
    "DbClusterResourceId",
    "aws rds create-db-cluster --replication-source-identifier TARGET_ARN …",
)
WORDS: Mapping[Engine, Words] = {"postgres": INSTANCE, "aurora-postgresql": CLUSTER}
