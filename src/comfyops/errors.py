"""Every error ComfyOps raises on purpose.

    ComfyOpsError
     ├─ UsageError                 the command or call does not make sense               (exit 2)
     ├─ InputError                 a file or value given by a person
     │   ├─ MissingFileError       it is not there or cannot be read
     │   ├─ NotJsonError           it is not JSON (or YAML)
     │   ├─ UiFormatError          UI format where API format is needed
     │   ├─ WorkflowFormatError    JSON, but not a workflow
     │   ├─ NoWorkflowError        a picture that carries no workflow
     │   ├─ NodeFactsError         not the answer of GET /object_info
     │   ├─ UnknownInputError      --set names a node or input that is not there
     │   ├─ InvalidValueError      a value that an input of a workflow does not take
     │   ├─ UnknownTemplateError   no workflow of this name in the library
     │   ├─ UnknownClassError      no node class of this name
     │   ├─ InvalidWorkflowError   a server would refuse it; carries the problems
     │   ├─ StoryboardError        a storyboard or project file says something impossible
     │   ├─ CatalogError           a list of models, or a lock of them, says something impossible
     │   ├─ UnknownModelError      no model or group of this name
     │   ├─ UnsafeNameError        a file name that would leave its folder
     │   ├─ SecretsError           the document of secrets, or a target of it, says something impossible
     │   ├─ WeakSecretError        a secret that is weak, invalid or published
     │   └─ PassphraseError        a backup that this passphrase does not open
     ├─ StorageError               a local disk or folder does not do what is needed
     │   ├─ DiskFullError
     │   └─ NotWritableError       nothing may be written into a folder
     ├─ BackendError               a ComfyUI server (or the way to it)
     │   ├─ UnreachableError       no answer
     │   ├─ LoginRequiredError     it asks for a login
     │   ├─ NotComfyUIError        something else answers there
     │   ├─ RejectedError          it refused the job; carries its node errors
     │   ├─ UnsupportedError       this server has no such route
     │   ├─ RunFailedError         a node failed
     │   ├─ RunInterruptedError    somebody stopped the run
     │   ├─ RunLostError           the server forgot the run (restart, deleted from the queue)
     │   ├─ StalledError           no progress: its worker is dead or hangs
     │   ├─ WaitTimeoutError       it takes longer than we were told to wait
     │   └─ OutputGoneError        history names a file that is no longer there
     ├─ QueueError                 the durable queue, or a job of it
     │   ├─ DatabaseError          its database cannot be used
     │   ├─ DispatcherTakenError   another dispatcher has this name, or this database
     │   ├─ UnknownJobError        no job, batch or output of this id
     │   ├─ UnknownAssetError      no asset of this id
     │   ├─ JobStateError          a job is not in a state for this
     │   ├─ DuplicateKeyError      an idempotency key was used for another request
     │   ├─ QueueFullError         somebody has too many waiting jobs; carries the seconds to wait
     │   ├─ NoBackendError         no backend could ever run the job; carries the reasons
     │   ├─ DependencyError        another job that this one needs did not make what it should
     │   ├─ UnknownBackendError    no backend of this name
     │   ├─ DeliveryError          a destination does not take an output
     │   └─ ScheduleError          a schedule that cannot be, or of this name is none
     ├─ ModelError                 a model file cannot be had, or is not what it should be
     │   ├─ DownloadError          no source gave the file
     │   ├─ IntegrityError         its bytes are not those that were promised
     │   ├─ UpstreamChangedError   the source now has another file than the pinned one
     │   ├─ GatedModelError        its source gives it only to those who have asked
     │   ├─ UntrustedSourceError   an address that is not allowed
     │   ├─ UnsafeModelError       a model that may run code when it is loaded
     │   └─ DownloadCancelledError somebody cancelled the download
     ├─ LaunchError                a ComfyUI on this machine could not be started
     │   └─ PortInUseError         something else listens there
     ├─ NodePackError              a pack of custom nodes cannot be had, or is not what it should be
     ├─ AuthError                  who may do what: the request is not let in
     │   ├─ PathError              the path of a request has no honest reading
     │   ├─ WrongCredentialError   name and password, or a one-time secret, are wrong
     │   ├─ TooManyAttemptsError   too many wrong ones; carries the seconds to wait
     │   ├─ AccountError           a user, token or role that cannot be made, changed or found
     │   │   └─ LastAdministratorError  nobody would be left who may see to accounts
     │   ├─ WeakPasswordError      a password that is too short or known
     │   └─ AuditError             the record of who did what has been tampered with
     ├─ MissingExtraError          an optional part is not installed
     ├─ StoppedError               Ctrl-C or SIGTERM ended the command                  (exit 130)
     └─ InternalError              a fault of ComfyOps itself

Names end in `Error`. Each class has a stable `code` (in JSON output and logs) and a default `hint`, the next thing to
try. The message is one sentence. `facts` are the details a program needs; they go into `details` of the JSON answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class ComfyOpsError(Exception):
    """Base of all: `message` is one clear sentence, `code` is stable, `hint` says what to do next."""

    code = "error"
    hint = ""

    def __init__(self, message: str, *, hint: str | None = None, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts
        if hint is not None:
            self.hint = hint


class UsageError(ComfyOpsError):
    """The command or call does not make sense."""

    code = "usage"
    hint = "Run the command with --help."


class InputError(ComfyOpsError):
    """A file or value given by a person is not what it should be."""

    code = "input"


class MissingFileError(InputError):
    """A file is not there or cannot be read."""

    code = "file_missing"
    hint = "Check the path and its permissions."


class NotJsonError(InputError):
    """A file is not JSON (or YAML) at all."""

    code = "not_json"
    hint = "Export the workflow again with the menu 'Export (API)'."


class UiFormatError(InputError):
    """A workflow in UI format where the API format is needed."""

    code = "ui_format"
    hint = "In ComfyUI choose 'Export (API)', or convert it with `comfyops workflow convert`."


class WorkflowFormatError(InputError):
    """JSON that is not a workflow."""

    code = "workflow_format"
    hint = 'A workflow in API format is an object {"id": {"class_type": ..., "inputs": {...}}}.'


class NoWorkflowError(InputError):
    """A picture without an embedded workflow."""

    code = "no_workflow"
    hint = "Only pictures saved by ComfyUI's SaveImage, with metadata left in, carry their workflow."


class NodeFactsError(InputError):
    """Not the answer of GET /object_info."""

    code = "node_facts"
    hint = "Record a server's with `comfyops nodes snapshot --server URL -o FILE`."


class UnknownInputError(InputError):
    """A value is set for a node or input that is not there."""

    code = "unknown_input"
    hint = "See the names with `comfyops workflow inputs FILE`, every node's with `comfyops workflow show FILE`."


class InvalidValueError(InputError):
    """A value that an input of a workflow does not take."""

    code = "invalid_value"
    hint = "See types, ranges and choices with `comfyops workflow inputs FILE`."


class UnknownTemplateError(InputError):
    """There is no workflow of this name in the library."""

    code = "unknown_template"
    hint = "List them with `comfyops templates ls`, or find one with `comfyops templates search TEXT`."


class UnknownClassError(InputError):
    """There is no node class of this name."""

    code = "unknown_class"
    hint = "List them with `comfyops nodes ls`."


class InvalidWorkflowError(InputError):
    """A server would refuse this workflow; `facts["problems"]` says why."""

    code = "workflow_invalid"
    hint = "See every problem with `comfyops workflow validate FILE`."


class StoryboardError(InputError):
    """A storyboard or project file says something impossible."""

    code = "storyboard"
    hint = "See the fields in docs/storyboard.md, or start from `comfyops storyboard init`."


class CatalogError(InputError):
    """A list of models, or a lock of them, says something impossible."""

    code = "catalog"
    hint = "See the fields of a model in docs/models.md."


class UnknownModelError(InputError):
    """There is no model or group of this name in the catalogs."""

    code = "unknown_model"
    hint = "List them with `comfyops models ls`, or find one with `comfyops models search TEXT`."


class UnsafeNameError(InputError):
    """A file name that would leave the folder it is meant for."""

    code = "unsafe_name"
    hint = "Use a plain name without '..', drive or leading slash."


class SecretsError(InputError):
    """The document of secrets, or a file that must agree with it, says something impossible; never quotes a value."""

    code = "secrets"
    hint = "See the fields of the document and the formats of targets in docs/secrets.md."


class WeakSecretError(InputError):
    """A secret that is weak, invalid or known to the public; never quotes it."""

    code = "weak_secret"
    hint = "Have a random one made with `comfyops secrets rotate NAME`."


class PassphraseError(InputError):
    """A backup is encrypted and this passphrase does not open it, or it was changed."""

    code = "passphrase"
    hint = "Give the passphrase it was made with by --passphrase-file, or COMFYOPS_BACKUP_PASSPHRASE."


class StorageError(ComfyOpsError):
    """A local disk or folder does not do what is needed."""

    code = "storage"
    hint = "Check the folder's permissions."


class DiskFullError(StorageError):
    """No space is left."""

    code = "disk_full"
    hint = "Free some space or choose another folder; then run the same command again."


class NotWritableError(StorageError):
    """Nothing may be written into a folder; found out by writing."""

    code = "not_writable"
    hint = "Give yourself the right to write there, or choose another folder."


class BackendError(ComfyOpsError):
    """A ComfyUI server, or the way to it, failed."""

    code = "backend"


class UnreachableError(BackendError):
    """No answer from the server."""

    code = "backend_unreachable"
    hint = "Start ComfyUI (or `comfyops simulate`) and give its address with --server."


class LoginRequiredError(BackendError):
    """The server asks for a login."""

    code = "login_required"
    hint = "Give its token with COMFYOPS_TOKEN or --token."


class NotComfyUIError(BackendError):
    """Something answers, but not a ComfyUI server."""

    code = "not_comfyui"
    hint = "Check host, port and --api-prefix."


class RejectedError(BackendError):
    """The server refused the job; `facts["node_errors"]` holds its reasons."""

    code = "rejected"
    hint = "Check the workflow with `comfyops workflow validate FILE --nodes SNAPSHOT` for this server."


class UnsupportedError(BackendError):
    """This server has no such route or feature."""

    code = "unsupported"
    hint = "Update ComfyUI."


class RunFailedError(BackendError):
    """A node failed; outputs of nodes that finished before may still exist."""

    code = "run_failed"


class RunInterruptedError(BackendError):
    """The run was interrupted or cancelled."""

    code = "run_interrupted"
    hint = "Run it again."


class RunLostError(BackendError):
    """The server no longer knows the run: it restarted, or the job was deleted from its queue."""

    code = "run_lost"
    hint = "Run it again."


class StalledError(BackendError):
    """The head of the server's queue makes no progress: its worker is dead or hangs, though HTTP answers."""

    code = "backend_stalled"
    hint = "Restart the server; neither interrupting nor clearing its queue revives a dead worker."


class WaitTimeoutError(BackendError):
    """The run takes longer than we were told to wait; it goes on at the server."""

    code = "timeout"
    hint = "Wait longer, or cancel it with `comfyops jobs cancel ID`."


class OutputGoneError(BackendError):
    """History names an output file that is no longer on the server."""

    code = "output_gone"
    hint = "The result came from the server's cache; run it again with another seed or file name prefix."


class QueueError(ComfyOpsError):
    """The durable queue, or a job of it."""

    code = "queue"


class DatabaseError(QueueError):
    """The database of the queue cannot be used."""

    code = "database"
    hint = "Check the address in COMFYOPS_DATABASE, and that its server runs."


class DispatcherTakenError(QueueError):
    """Another dispatcher that lives has this name, or has this SQLite database for itself."""

    code = "dispatcher_taken"
    hint = "Give each dispatcher its own --name; for more than one on a database take PostgreSQL."


class UnknownJobError(QueueError):
    """There is no job, batch or output of this id, or it is somebody else's."""

    code = "unknown_job"
    hint = "List them with `comfyops jobs ls`."


class UnknownAssetError(QueueError):
    """There is no asset of this id, or it is somebody else's."""

    code = "unknown_asset"
    hint = "Upload the file again, or take the id of an output of one of your jobs."


class JobStateError(QueueError):
    """A job is not in a state in which this could be done; `facts["state"]` is the state it is in."""

    code = "job_state"
    hint = "Look at it with `comfyops jobs show ID`."


class DuplicateKeyError(QueueError):
    """An idempotency key was used before, for another request."""

    code = "idempotency_key_reused"
    hint = "Take a new key for each request; the same key only for the same request again."


class QueueFullError(QueueError):
    """Too many jobs of one owner wait; `facts["retry_after"]` is in seconds."""

    code = "queue_full"
    hint = "Wait until some of your jobs have run, then submit again."


class NoBackendError(QueueError):
    """No backend could ever run the job; `facts["reasons"]` says why for each."""

    code = "no_backend"
    hint = "See what each backend offers with `comfyops backends ls`; add one that has what the job needs."


class DependencyError(QueueError):
    """Another job did not make the output that this one takes."""

    code = "dependency"
    hint = "Look at the other job with `comfyops jobs show ID`."


class UnknownBackendError(QueueError):
    """There is no backend of this name."""

    code = "unknown_backend"
    hint = "List them with `comfyops backends ls`."


class DeliveryError(QueueError):
    """A folder or bucket that outputs are delivered to does not take one."""

    code = "delivery"
    hint = "Check the address, its region or endpoint, and the credentials of whoever runs ComfyOps."


class ScheduleError(QueueError):
    """A schedule that cannot be, or there is none of this name."""

    code = "schedule"
    hint = "Write it as cron does: minute hour day month weekday."


class ModelError(ComfyOpsError):
    """A model file cannot be had, or is not what it should be."""

    code = "model"


class DownloadError(ModelError):
    """No source gave the file; `facts["reasons"]` says why for each address."""

    code = "download"
    hint = "Run the same command again: what was fetched so far is kept and not fetched twice."


class IntegrityError(ModelError):
    """The bytes of a file are not those that were promised; it was not put in its place."""

    code = "integrity"
    hint = "Try another source; the evidence lies in the folder .comfyops-quarantine beside the file."


class UpstreamChangedError(ModelError):
    """The source now has another file than the pinned one."""

    code = "upstream_changed"
    hint = "Pin an older revision of the source, or take the new file with `comfyops models lock --update`."


class GatedModelError(ModelError):
    """The source gives this file only to those who asked for access and say who they are."""

    code = "gated"
    hint = "Accept the licence on the model's page, then set HF_TOKEN (CIVITAI_API_TOKEN for Civitai)."


class UntrustedSourceError(ModelError):
    """An address that is not allowed: not https, not an allowed host, or a private network."""

    code = "untrusted_source"
    hint = "If you trust its host, name it in COMFYOPS_MODEL_HOSTS."


class UnsafeModelError(ModelError):
    """A model that may run code when it is loaded."""

    code = "unsafe_model"
    hint = "Take the model as safetensors; where you trust its maker, allow it with --allow-pickle."


class DownloadCancelledError(ModelError):
    """Somebody cancelled the download; what was fetched is kept."""

    code = "download_cancelled"
    hint = "Run the same command again to go on where it stopped."


class LaunchError(ComfyOpsError):
    """A ComfyUI on this machine could not be started, or ended by itself; `facts["log"]` is its log file."""

    code = "launch"
    hint = "Read the end of its log."


class PortInUseError(LaunchError):
    """Something else listens on the port."""

    code = "port_in_use"
    hint = "Choose another port with --port, or stop what listens there."


class NodePackError(ComfyOpsError):
    """A pack of custom nodes cannot be had, or is not what it should be."""

    code = "node_pack"
    hint = "Read the sentence; `comfyops nodes packs` lists what is there."


class AuthError(ComfyOpsError):
    """Who may do what: a request or a change is not let in."""

    code = "auth"


class PathError(AuthError):
    """The path of a request has no honest reading."""

    code = "bad_path"
    hint = "Write the path plainly: UTF-8, encoded once, without '..' that leads out."


class WrongCredentialError(AuthError):
    """Name and password, or a one-time secret, are wrong."""

    code = "credential_wrong"
    hint = "Check both; an administrator can set a new password with `comfyops auth user password NAME`."


class TooManyAttemptsError(AuthError):
    """Too many wrong attempts of an account or from an address; `facts["retry_after"]` is in seconds."""

    code = "too_many_attempts"
    hint = "Wait as long as it says; each further wrong attempt makes the wait longer."


class AccountError(AuthError):
    """A user, token or role that cannot be made, changed or found."""

    code = "account"
    hint = "List them with `comfyops auth user ls`, `comfyops auth token ls` and `comfyops auth role ls`."


class LastAdministratorError(AccountError):
    """The only administrator who can sign in would be one no longer: nobody would be left who may see to accounts."""

    code = "last_administrator"
    hint = "Make another administrator first; on the machine of the gateway `comfyops auth user` does it all the same."


class WeakPasswordError(AuthError):
    """A password that is too short, or one that everybody knows."""

    code = "weak_password"
    hint = "Take at least 10 characters, such as four words that have nothing to do with one another."


class AuditError(AuthError):
    """The record of who did what does not fit together: it was changed, shortened or reordered."""

    code = "audit_broken"
    hint = "Keep the file as evidence; records before the one it names are still whole."


class MissingExtraError(ComfyOpsError):
    """An optional part of ComfyOps is not installed."""

    code = "extra_missing"


class StoppedError(ComfyOpsError):
    """Ctrl-C or SIGTERM ended a command; what it had started on a server is cancelled."""

    code = "interrupted"


class InternalError(ComfyOpsError):
    """A fault of ComfyOps itself."""

    code = "internal"
    hint = "This is a fault of ComfyOps; with COMFYOPS_DEBUG=1 it shows where. Please report it."


def all_errors(root: type[ComfyOpsError] = ComfyOpsError) -> Iterator[type[ComfyOpsError]]:
    """Every class of the tree, parents first."""
    yield root
    for child in root.__subclasses__():
        yield from all_errors(child)
