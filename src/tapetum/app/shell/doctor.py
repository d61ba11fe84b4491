"""`tapetum doctor`: what works on this machine."""

from dataclasses import dataclass

from tapetum.app.doctor import DoctorOptions, Health, doctor
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class Doctor(DoctorOptions):
    """Say what works on this machine: versions, devices, folders, extras, and a trial of what all verbs build on.

    The exit code is 0 with findings too.
    """

    json: bool = False
    """Print what was found as JSON."""

    def run(self) -> None:
        """Do it."""
        with terminal() as listener:
            health = doctor.run(self, listener)
        if self.json:
            print_json(health.as_json())
        else:
            print(_text(health))


def _text(health: Health) -> str:
    host = health.machine
    memory = "" if host["memory_gib"] is None else f", {host['memory_gib']:g} GiB"
    lines = ["versions  " + ", ".join(f"{name} {version}" for name, version in health.versions.items())]
    lines += [f"machine   {host['system']}, {host['cpu']}, {host['cores']} cores{memory}"]
    kinds = ", ".join(health.processor["features"]) or "no instructions for vectors that kernels ask for"
    lines += [f"processor {health.processor['vendor']}: {kinds}; linear layers by {health.processor['linear']}", "", "devices"]
    for device in health.devices:
        room = "" if device.memory_gib is None else f", {device.memory_gib:g} GiB"
        lines.append(f"  {device.name:8}  {device.model}{room}")
    lines += ["", "folders"]
    for folder in health.folders:
        state = f"{folder.used_mib:g} MiB here, " if folder.used_mib else "" if folder.exists else "not made yet, "
        can = "can be written" if folder.writable else "CANNOT BE WRITTEN"
        lines.append(f"  {folder.purpose:18}  {folder.path}  ({state}{can}, {folder.free_gib:g} GiB free)")
    lines += ["", "extras"]
    for extra in health.extras:
        missing = [name for name, version in extra.packages.items() if version is None]
        how = f"  pip install 'tapetum[{extra.name}]' ({', '.join(missing)})" if missing else ""
        lines.append(f"  {extra.name:10} {'missing' if missing else 'here':8} {extra.gives}{how}")
    if health.trials:
        lines += ["", "trials"]
        lines += [f"  {'works ' if trial.works else 'FAILED'}  {trial.name}: {trial.detail}" for trial in health.trials]
    found = health.findings
    count = "nothing" if not found else "1 thing" if len(found) == 1 else f"{len(found)} things"
    lines += ["", f"{count} to mend" + (":" if found else ""), *(f"  {finding}" for finding in found)]
    return "\n".join(lines)
