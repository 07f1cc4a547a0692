"""MLflow, and nobody else talks to it: what is to be logged goes into an outbox first, a thread sends it on.

The outbox is a file in the study's folder, one JSON record a line, and ``sent-….json`` beside it says how far sending
to one store has come and which run is whose. So a server that is away slows nothing and loses nothing, and neither
does a killed driver: what could not be sent is sent when the study is next worked on, or by ``topotune sync``. Records
carry their own time stamps, so a record that is sent twice is stored once.
"""

from topotune.tracking.outbox import Outbox
from topotune.tracking.registry import ALIAS, Origin, download, origin
from topotune.tracking.sender import Sender
from topotune.tracking.tracker import Tracker
from topotune.tracking.uri import check_store, default_store, shown, ui_command

__all__ = [
    "ALIAS", "Origin", "Outbox", "Sender", "Tracker", "check_store", "default_store", "download", "origin", "shown",
    "ui_command",
]  # fmt: skip
