"""The program of test_stack.py. The environment variable PARAMETERS holds the parameters of a test as JSON."""

import json
import os

import pulumi
from pulumi_command import local, remote

parameters = json.loads(os.environ["PARAMETERS"])
folder, word, secret = parameters["folder"], parameters["word"], pulumi.Output.secret(parameters["secret"])
connection = remote.ConnectionArgs(**parameters["connection"])

plain = local.Command("plain", create=f"echo {word}; echo line >> {folder}/plain", delete=f"rm {folder}/plain")
hidden = local.Command(
    "hidden",
    create="cat; echo err >&2",
    stdin=secret,
    logging=local.Logging.NONE,
    opts=pulumi.ResourceOptions(additional_secret_outputs=["stdout"]),
)
updated = local.Command(
    "updated",
    create="echo created",
    update='echo "updated from $PULUMI_COMMAND_STDOUT"',
    environment={"WORD": word},
)
triggered = local.Command("triggered", create="echo $$", triggers=["fixed", word])
files = local.Command("files", create=f"echo {word} > made", dir=folder, asset_paths=["ma*"], archive_paths=["made"])
there = remote.Command(
    "there", connection=connection, create=plain.stdout.apply(lambda stdout: f"echo there {stdout}"), stdin=secret
)
text = remote.CopyToRemote(
    "text", connection=connection, source=pulumi.StringAsset(word), remote_path=f"{folder}/copied/text"
)
tree = remote.CopyToRemote(
    "tree", connection=connection, source=pulumi.FileArchive("./tree"), remote_path=f"{folder}/copied"
)
made = remote.CopyToRemote(
    "made",
    connection=connection,
    source=files.assets.apply(lambda assets: (assets or {})["made"]),
    remote_path=f"{folder}/there",
)
ran = local.run_output(command="cat", stdin=plain.stdout)

pulumi.export("hidden", hidden.stdout)
pulumi.export("updated", updated.stdout)
pulumi.export("triggered", triggered.stdout)
pulumi.export("there", there.stdout)
pulumi.export("ran", ran.stdout)
