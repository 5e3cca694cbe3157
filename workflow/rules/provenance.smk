# Results whose records in .snakemake/ are gone are compared with the records beside them, so that changed settings and
# code are noticed wherever results have come from.
from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord
from snakemake.persistence.file import FilePersistence
from snakemake.logging import logger
from snakemake.settings.types import ExecMode

from nmer.plan import provenance


class SnakemakeMetadata:
    """The records in .snakemake/ as the plan asks for them."""

    def __init__(self):
        self.records = FilePersistence(path=Path(".snakemake"))

    def knows(self, output):
        return os.path.exists(
            self.records._record_path(self.records._metadata_path, output)
        )

    def mark_outdated(self, output):
        made_otherwise = MetadataRecord(
            params=["made otherwise"], record_format_version=RECORD_FORMAT_VERSION
        )
        self.records._write_record(output, made_otherwise)

    def unmark(self, output):
        record = self.records._read_record(output)
        if record is not None and record.rule is None:
            self.records._delete_record(output)


# Jobs look at nothing but their own files.
if workflow.exec_mode == ExecMode.DEFAULT and Path("results").exists():
    for sentence in provenance.update(plan, SnakemakeMetadata()):
        logger.warning(sentence)
