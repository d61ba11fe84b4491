"""The sbatch files: bash and tapetum understand them, and what they ask of SLURM fits what they start."""

import re
import subprocess

from support.docs_pages import ROOT, Block, commands
from tapetum.app.shell.main import parse

FILES = sorted((ROOT / "examples" / "slurm").glob("*.sbatch"))


def test_there_is_one_for_one_machine_and_one_for_eight() -> None:
    nodes = {int(re.search(r"^#SBATCH --nodes=(\d+)$", file.read_text(), re.M)[1]) for file in FILES}  # type: ignore[index]
    assert nodes == {1, 8}


def test_bash_and_tapetum_understand_it() -> None:
    for file in FILES:
        subprocess.run(["bash", "-n", file], check=True)
        text = file.read_text()
        lines = text.replace("\\\n", " ").replace("$(", "$( ").splitlines()
        block = Block(
            ("console",), "\n".join(f"$ {line}" for line in lines if "tapetum" in line and not line.startswith("#")), 1
        )
        found = list(commands(block))
        assert [words[0] for words in found] == ["pretrain"]
        for words in found:
            parse(words)
        asked = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", text, re.M))
        training = found[0]
        assert asked["ntasks-per-node"] == "1"  # torchrun starts the others
        assert f"--nproc-per-node {asked['gpus-per-node']}" in text
        hours = int(asked["time"].partition(":")[0])
        assert 0 < hours * 60 - int(training[training.index("--minutes") + 1]) <= 60  # it stops by itself before that
        replicas = training[training.index("--replicas") + 1] if "--replicas" in training else "1"
        assert replicas == asked["nodes"]  # weights stay inside a machine
        gpus = int(asked["nodes"]) * int(asked["gpus-per-node"])
        batch, micro_batch = (int(training[training.index(name) + 1]) for name in ("--batch-size", "--micro-batch"))
        assert batch % (gpus * micro_batch) == 0
        assert int(asked["cpus-per-task"]) >= int(asked["gpus-per-node"]) * (1 + int(training[training.index("--workers") + 1]))
