"""What a run says about itself, for machines and people; reading a report needs neither torch nor matplotlib."""

from trimtab.workloads.compress.report.document import REPORT, REPORT_FOLDER, Outcome, read_report, result_of
from trimtab.workloads.compress.report.text import as_text, facts_sentence, size_sentence

__all__ = [
    "REPORT",
    "REPORT_FOLDER",
    "Outcome",
    "as_text",
    "facts_sentence",
    "read_report",
    "result_of",
    "size_sentence",
]
