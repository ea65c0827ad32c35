"""Route 53: moto's, with changes that are PENDING before they are INSYNC, as on AWS."""

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.moto_api._internal import mock_random
from moto.route53.responses import Route53


class LabRoute53(Route53):
    """Serves the Route 53 API. A change is PENDING when it is made and the first time that it is asked for."""

    __module__ = "moto.route53.responses"
    pending: "set[str]" = set()  # noqa: RUF012  (one for the process, as the changes are)

    def change_resource_record_sets(self) -> ActionResult:
        super().change_resource_record_sets()
        change = f"C{mock_random.get_random_hex(12).upper()}"
        self.pending.add(change)
        return ActionResult({"ChangeInfo": {"Id": f"/change/{change}", "Status": "PENDING", "SubmittedAt": utcnow()}})

    def get_change(self) -> ActionResult:
        change = str(self._get_param("Id")).rpartition("/")[2]
        status = "PENDING" if change in self.pending else "INSYNC"
        self.pending.discard(change)
        return ActionResult({"ChangeInfo": {"Id": f"/change/{change}", "Status": status, "SubmittedAt": utcnow()}})
