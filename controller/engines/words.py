"""What RDS and Aurora are called in messages, and the `aws` commands that remedies name. Pure."""

from dataclasses import dataclass

from encryptdb.stacks.contract.outputs import Side


@dataclass(frozen=True)
class Words:
    """`noun` as in "DB instance" and "DB cluster", `group` as in the API's name of a parameter group, `replica` is the
    command that makes a read replica of a TARGET, `listed_as` the API's key for a list of such identifiers."""

    noun: str
    group: str
    replica: str
    listed_as: str

    def describe(self, identifier: str) -> str:
        return f"aws rds describe-db-{self.noun}s --db-{self.noun}-identifier {identifier}"

    def events(self, identifier: str) -> str:
        return f"aws rds describe-events --source-identifier {identifier} --source-type db-{self.noun}"

    def modify(self, identifier: str, *options: str) -> str:
        return " ".join((f"aws rds modify-db-{self.noun} --db-{self.noun}-identifier {identifier}", *options))

    def attach(self, identifier: str, group: str) -> str:
        return self.modify(identifier, "--apply-immediately", f"--db-{self.group}-name {group}")

    def reboot(self, side: Side) -> str:
        """Of a cluster, each member is rebooted by itself: this names the writer."""
        return f"aws rds reboot-db-instance --db-instance-identifier {(side.members or (side.identifier,))[0]}"

    def set_parameters(self, group: str, values: dict[str, int]) -> str:
        settings = (f"ParameterName={n},ParameterValue={v},ApplyMethod=pending-reboot" for n, v in values.items())
        return f"aws rds modify-db-{self.group} --db-{self.group}-name {group} --parameters {' '.join(settings)}"


INSTANCE = Words(
    "instance",
    "parameter-group",
    "aws rds create-db-instance-read-replica --source-db-instance-identifier TARGET …",
    "DBInstanceIdentifiers",
)
CLUSTER = Words(
    "cluster",
    "cluster-parameter-group",
    "aws rds create-db-cluster --replication-source-identifier TARGET_ARN …",
    "DBClusterIdentifiers",
)
