"""The resource types and functions of pulumi-aws that the stack uses, over boto3. It knows nothing of any engine.

Property names and behaviour are pulumi-aws's where that matters: what is an input and what an output, which inputs can
only be had by replacing the resource, what a resource's id is.
"""

from encryptdb.lab.provider.base import Handler
from encryptdb.lab.provider.cluster import Cluster
from encryptdb.lab.provider.cluster_instance import ClusterInstance
from encryptdb.lab.provider.ingress import IngressRule
from encryptdb.lab.provider.instance import Instance
from encryptdb.lab.provider.parameter_group import ClusterParameterGroup, ParameterGroup
from encryptdb.lab.provider.snapshot import ClusterSnapshot, Snapshot, SnapshotCopy

HANDLERS: dict[str, Handler] = {
    "aws:rds/parameterGroup:ParameterGroup": ParameterGroup(),
    "aws:rds/snapshot:Snapshot": Snapshot(),
    "aws:rds/snapshotCopy:SnapshotCopy": SnapshotCopy(),
    "aws:rds/instance:Instance": Instance(),
    "aws:rds/clusterParameterGroup:ClusterParameterGroup": ClusterParameterGroup(),
    "aws:rds/clusterSnapshot:ClusterSnapshot": ClusterSnapshot(),
    "aws:rds/cluster:Cluster": Cluster(),
    "aws:rds/clusterInstance:ClusterInstance": ClusterInstance(),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": IngressRule(),
}
"""Every type the provider can make, by its Pulumi token."""
