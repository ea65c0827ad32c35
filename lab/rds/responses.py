"""RDS requests: moto's, with the operations it lacks, one at a time."""

from typing import Any

from moto.core.responses import ActionResult
from moto.rds.models import rds_backends
from moto.rds.responses import RDSResponse

from encryptdb.lab.rds.cluster_models import ENGINE
from encryptdb.lab.rds.clusters import Clusters
from encryptdb.lab.rds.transitions import LOCK


class LabBackendOfAll(Clusters):
    """All parts of the lab's backend."""

    __module__ = "moto.rds.models"


class LabResponse(RDSResponse):
    """Serves the RDS API."""

    __module__ = "moto.rds.responses"

    @classmethod
    def dispatch(cls, *args: Any, **kwargs: Any) -> Any:
        with LOCK:
            return super().dispatch(*args, **kwargs)

    @property
    def backend(self) -> LabBackendOfAll:
        found = rds_backends[self.current_account][self.region]
        assert isinstance(found, LabBackendOfAll)
        return found

    def _page(self, key: str, rows: list[dict[str, Any]]) -> ActionResult:
        """One page, as AWS gives them (100 unless asked for less): moto's own paging wants a unique attribute."""
        first, most = int(self.params.get("Marker") or 0), int(self.params.get("MaxRecords") or 100)
        answer: dict[str, Any] = {key: rows[first : first + most]}
        if first + most < len(rows):
            answer["Marker"] = str(first + most)
        return ActionResult(answer)

    def describe_db_parameters(self) -> ActionResult:
        rows = self.backend.parameter_rows(self.params["DBParameterGroupName"], self.params.get("Source"))
        return self._page("Parameters", rows)

    def reset_db_parameter_group(self) -> ActionResult:
        named = [p["ParameterName"] for p in self.params.get("Parameters") or []]
        everything = bool(self.params.get("ResetAllParameters", not named))
        group = self.backend.reset_db_parameter_group(
            self.params["DBParameterGroupName"], None if everything else named
        )
        return ActionResult({"DBParameterGroupName": group.name})

    def describe_db_log_files(self) -> ActionResult:
        files = self.backend.log_files(
            self.params["DBInstanceIdentifier"],
            self.params.get("FilenameContains") or "",
            int(self.params.get("FileLastWritten") or 0),
            int(self.params.get("FileSize") or 0),
        )
        return self._page("DescribeDBLogFiles", files)

    def download_db_log_file_portion(self) -> ActionResult:
        lines = self.params.get("NumberOfLines")
        text, marker, more = self.backend.log_portion(
            self.params["DBInstanceIdentifier"],
            self.params["LogFileName"],
            self.params.get("Marker"),
            int(lines) if lines else None,
        )
        return ActionResult({"LogFileData": text, "Marker": marker, "AdditionalDataPending": more})

    def describe_db_engine_versions(self) -> ActionResult:
        binaries = self.backend.plane.binaries
        version = self.params.get("EngineVersion")
        rows = [
            {
                "Engine": engine,
                "MajorEngineVersion": str(binaries.major),
                "EngineVersion": binaries.version,
                "DBParameterGroupFamily": family,
                "DBEngineDescription": description,
                "DBEngineVersionDescription": f"{description} {binaries.version}",
                "ValidUpgradeTarget": [],
                "ExportableLogTypes": ["postgresql"] if engine == ENGINE else ["postgresql", "upgrade"],
                "SupportsLogExportsToCloudwatchLogs": True,
                "SupportsReadReplica": False,
                "Status": "available",
            }
            for engine, family, description in (
                ("postgres", binaries.family, "PostgreSQL"),
                (ENGINE, binaries.aurora_family, "Aurora PostgreSQL"),
            )
            if self.params.get("Engine") in (None, engine)
            and self.params.get("DBParameterGroupFamily") in (None, family)
            and version in (None, binaries.version, str(binaries.major))
        ]
        return ActionResult({"DBEngineVersions": rows})

    def describe_db_cluster_parameters(self) -> ActionResult:
        rows = self.backend.cluster_parameter_rows(
            self.params["DBClusterParameterGroupName"], self.params.get("Source")
        )
        return self._page("Parameters", rows)

    def reset_db_cluster_parameter_group(self) -> ActionResult:
        named = [p["ParameterName"] for p in self.params.get("Parameters") or []]
        everything = bool(self.params.get("ResetAllParameters", not named))
        group = self.backend.reset_db_cluster_parameter_group(
            self.params["DBClusterParameterGroupName"], None if everything else named
        )
        return ActionResult({"DBClusterParameterGroupName": group.name})

    def delete_db_cluster(self) -> ActionResult:
        cluster = self.backend.delete_db_cluster(
            self.params["DBClusterIdentifier"],
            self.params.get("FinalDBSnapshotIdentifier"),
            bool(self.params.get("SkipFinalSnapshot")),
            bool(self.params.get("DeleteAutomatedBackups", True)),
        )
        return ActionResult({"DBCluster": cluster})

    def reboot_db_cluster(self) -> ActionResult:
        return ActionResult({"DBCluster": self.backend.reboot_db_cluster(self.params["DBClusterIdentifier"])})

    def describe_db_cluster_automated_backups(self) -> ActionResult:
        rows = self.backend.cluster_backups(
            self.params.get("DbClusterResourceId"), self.params.get("DBClusterIdentifier")
        )
        return self._page("DBClusterAutomatedBackups", rows)
