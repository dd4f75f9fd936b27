"""Run a command on a stack: `python -m tools.cli COMMAND --stack NAME [ARGUMENT ...]`, in the checkout.

Most commands are Pulumi's. They configure the backend, select the stack and first remove the lock of a killed run.
Further arguments are Pulumi's too (`up --target ...`).
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence

from infra.errors import UserError
from infra.local.process_group import ProcessGroup
from settings.errors import SettingsError
from tools.bootstrap import paths, stacks
from tools.bootstrap.console import SetupError, file_failure, log_message
from tools.cli import backend
from tools.cli.backup.errors import BackupError
from tools.cli.cluster_access import AccessError, kubectl, public_outputs, secret_outputs, ssh
from tools.cli.door_commands import revoke, token, tokens, trust, user
from tools.cli.forwarded_pages import pages
from tools.cli.kubernetes_plugin import require_kubernetes_plugin
from tools.cli.previews.dependency_graph import picture
from tools.cli.previews.preview import preview
from tools.cli.previews.preview_report import report
from tools.cli.pulumi_command import Pulumi, PulumiError
from tools.cli.stale_locks import StackBusy
from tools.cli.summary import summary, wrapped
from tools.cli.terminal.pipe_output import tolerate_lost_readers
from tools.cli.written_settings import written_setting

FAILURES = (stacks.UnknownStack, StackBusy, PulumiError, AccessError, BackupError, SetupError, UserError, SettingsError)
"""Errors whose message is for the user."""
KEEP = "platform:keep"
WITHOUT_ARGUMENTS = ("env", "pages", "status", "tokens", "trust")
OPTIONS = ("--yes", "--skip-preview", "--suppress-permalink=true")


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code, which is Pulumi's where Pulumi ran."""
    parser = argparse.ArgumentParser(prog="tools.cli", description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--stack", required=True)
    options, more = parser.parse_known_args(arguments)
    if more[:1] == ["--"]:
        del more[0]
    if more and options.command in WITHOUT_ARGUMENTS:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    os.environ.update(backend.proxy_exceptions(os.environ))
    try:
        if options.command != "env":
            stacks.require_stack(options.stack)
        return COMMANDS[options.command](Pulumi(options.stack), more)
    except FAILURES as error:
        log_message(f"Error: {error}")
        return 1
    except OSError as error:
        log_message(f"Error: {file_failure(error)}")
        return 1
    except KeyboardInterrupt:
        log_message("Interrupted. Run the same command again to continue.")
        return 130


def _run(pulumi: Pulumi, command: str, *arguments: str) -> int:
    """Run a command that changes the stack.

    A terminal shows Pulumi's tree with the duration of each operation. In a file, its progress would be rows of dots.
    """
    progress = () if sys.stdout.isatty() else ("--suppress-progress",)
    return pulumi.run(command, *OPTIONS, *progress, *arguments)


def _up(pulumi: Pulumi, more: list[str]) -> int:
    """Run `up`, then delete what the settings do not keep."""
    if written_setting(pulumi.stack, "workloads:adopt_champions"):
        from tools.cli.backup.unfinished_restore import require_loaded_data

        require_loaded_data(pulumi)
    code = _start(pulumi, more)
    if code == 0 and written_setting(pulumi.stack, KEEP):
        return _prune(pulumi, [])
    return code


def _start(pulumi: Pulumi, more: Sequence[str] = ()) -> int:
    """Run `up`, which deletes no old runs: a restored stack has to be equal to its original."""
    require_kubernetes_plugin(pulumi)
    pulumi.select("--create")
    code = _run(pulumi, "up", "--suppress-outputs", *more)
    if code == 0:
        outputs = public_outputs(pulumi)
        print(f"\n{summary(pulumi.stack, outputs)}")
        if "door_url" in outputs:
            _record_champions(pulumi)
    return code


def _record_champions(pulumi: Pulumi) -> None:
    """Add the changes of champions to the audit log of the door; a failure does not make `up` fail."""
    from tools.cli.audit.audit_entries import record_champions

    try:
        record_champions(pulumi.name, secret_outputs(pulumi))
    except AccessError as error:
        log_message(f"{error}; `make audit` writes the entries later")


def _preview(pulumi: Pulumi, more: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make preview", allow_abbrev=False)
    parser.add_argument("--try", dest="tries", action="store_true", help="run changed pipelines of served models here")
    options, more = parser.parse_known_args(more)
    try:
        require_kubernetes_plugin(pulumi)
        pulumi.output("stack", "select", "--create")
        code, plan = preview(pulumi, more)
    except PulumiError as error:
        # A reviewer reads the report, not the log of its job: a failure must stand in the report.
        code, plan = 1, {"diagnostics": [{"severity": "error", "message": str(error)}]}
    print(report(pulumi.stack, plan), flush=True)
    if code == 0 and options.tries:
        from tools.cli.previews.pipeline_trials import trial_lines

        _print_section("Trials of changed pipelines", trial_lines(pulumi, plan))
    if code == 0 and written_setting(pulumi.stack, KEEP):
        from tools.cli.retention.prune import planned_deletions

        _print_section("To delete by `platform:keep`", planned_deletions(pulumi))
    if code == 0 and written_setting(pulumi.stack, "serving:canary"):
        from tools.cli.champions.canary_commands import planned_trial

        _print_section("Canary", planned_trial(pulumi))
    return code


def _print_section(heading: str, lines: Iterable[str]) -> None:
    """Print a section of a preview's report as its lines appear; nothing without lines."""
    for number, line in enumerate(lines):
        print(f"- {line}" if number else f"\n### {heading}\n\n- {line}", flush=True)


def _refresh(pulumi: Pulumi, more: list[str]) -> int:
    pulumi.select()
    return _run(pulumi, "refresh", *more)


def _down(pulumi: Pulumi, more: list[str]) -> int:
    pulumi.select()
    # A deletion tolerates missing objects. A refresh would warn once for each resource of a dead cluster.
    code = _run(pulumi, "destroy", "--refresh=false", "--suppress-outputs", *more)
    if code == 0:
        data = paths.cache_directory() / "stacks" / pulumi.name
        # A killed `up` may have started a service that is not in the state.
        for record in data.rglob("*.process.json"):
            ProcessGroup(record).stop()
        kept = f" and its data in {data}" if data.is_dir() else ""
        log_message(f"\nKept: the tools in {paths.cache_directory()}, and the history of stack {pulumi.stack}{kept}.")
    return code


def _outputs(pulumi: Pulumi, more: list[str]) -> int:
    print(pulumi.output("stack", "output", "--json", *more), end="")
    return 0


def _status(pulumi: Pulumi, _more: list[str]) -> int:
    outputs = public_outputs(pulumi)
    print(summary(pulumi.stack, outputs))
    if written_setting(pulumi.stack, "platform:backup"):
        from tools.cli.backup.records import backup_lines

        print("\n".join(["Backups", *backup_lines(pulumi.name)]))
    if "kubeconfig" in outputs:
        from tools.cli.status import cluster_status  # its Kubernetes client takes a second to import

        for line in wrapped(cluster_status(secret_outputs(pulumi))):
            print(line, flush=True)
    return 0


def _history(pulumi: Pulumi, more: list[str]) -> int:
    from tools.cli.model_history import history  # Pulumi's SDK takes a second to import

    return history(pulumi, more)


def _env(pulumi: Pulumi, _more: list[str]) -> int:
    """Print lines for `eval`, and select the stack for a `pulumi up` that is typed by hand."""
    if pulumi.name in stacks.stack_names():
        pulumi.output("stack", "select", "--create")
    for name, value in backend.variables(os.environ).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


# Pulumi's SDK takes a second to import. Therefore the following commands import their modules when they run.


def _canary(pulumi: Pulumi, more: list[str]) -> int:
    from tools.cli.champions.canary_commands import canary

    return canary(pulumi, more)


def _audit(pulumi: Pulumi, more: list[str]) -> int:
    from tools.cli.audit.audit_command import audit

    return audit(pulumi, more)


def _back(pulumi: Pulumi, more: list[str]) -> int:
    from tools.cli.champions.champion_return import back

    return back(pulumi, more)


def _notebook(pulumi: Pulumi, more: list[str]) -> int:
    from tools.cli.notebook_server import notebook

    return notebook(pulumi, more)


def _backup(pulumi: Pulumi, more: list[str]) -> int:
    from tools.cli.backup.backup import backup

    return backup(pulumi, more)


def _restore(pulumi: Pulumi, more: list[str]) -> int:
    from tools.cli.backup.restore import restore

    return restore(pulumi, more, _start)


def _drill(pulumi: Pulumi, more: list[str]) -> int:
    from tools.cli.rehearsal.drill import drill

    return drill(pulumi, more, _start, lambda stack: _down(stack, []))


def _rehearse(pulumi: Pulumi, more: list[str]) -> int:
    from tools.cli.rehearsal.rehearse import rehearse

    return rehearse(pulumi, more, _start, lambda stack: _down(stack, []))


def _prune(pulumi: Pulumi, more: list[str]) -> int:
    from tools.cli.retention.prune import prune

    return prune(pulumi, more)


COMMANDS: dict[str, Callable[[Pulumi, list[str]], int]] = {
    "up": _up,
    "preview": _preview,
    "picture": picture,
    "refresh": _refresh,
    "down": _down,
    "outputs": _outputs,
    "status": _status,
    "history": _history,
    "canary": _canary,
    "audit": _audit,
    "back": _back,
    "env": _env,
    "notebook": _notebook,
    "kubectl": kubectl,
    "pages": pages,
    "ssh": ssh,
    "token": token,
    "tokens": tokens,
    "revoke": revoke,
    "user": user,
    "trust": trust,
    "backup": _backup,
    "restore": _restore,
    "drill": _drill,
    "rehearse": _rehearse,
    "prune": _prune,
}


if __name__ == "__main__":
    tolerate_lost_readers()
    sys.exit(main(sys.argv[1:]))
