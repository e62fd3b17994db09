"""Options that several commands share."""

import pytest

from tests.helpers.command_line import Run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("predict run a.mp4 --device cpu,cuda", "device is 'cpu,cuda', but `vqafeat predict` uses a single"),
        ("verify store --device cpu,cuda", "device is 'cpu,cuda', but `vqafeat verify` uses a single one"),
        ("coral a b --device cpu,cuda", "device is 'cpu,cuda', but `vqafeat coral` uses a single one"),
        ("fit --memory -1", "memory is '-1'; write an amount such as 1500M, 1.5G or 16G"),
        ("fit --cache lots", "cache is 'lots'; write an amount such as"),
        ("pack store --shard-size none", "shard-size is 'none'; write an amount such as"),
        (
            "fit --storage-option anon=true",
            "--storage-option is for stores and videos at a URL; leave it out",
        ),
    ],
)
def test_options__refuse_wrong_values(run: Run, arguments: str, message: str) -> None:
    ended = run(*arguments.split())
    assert (ended.code, message in ended.err) == (1, True), ended.err


def test_fit__refuses_options_that_the_protocol_does_not_read(run: Run) -> None:
    for arguments, message in (
        (
            "--test-part test-1080p",
            "--test-part has no effect with --protocol content; leave it out, or use --protocol official.",
        ),
        (
            "--protocol video --validation-share 0.3",
            "--validation-share has no effect with --protocol video; leave",
        ),
        (
            "--protocol official --ratio 80/20",
            "--ratio has no effect with --protocol official; leave it out.",
        ),
    ):
        ended = run("fit", *arguments.split())
        assert (ended.code, message in ended.err) == (2, True), ended.err


@pytest.mark.parametrize("command", ["extract", "fit", "pretrain", "table"])
def test_device__of_commands_that_take_several(run: Run, command: str) -> None:
    assert "--device NAME[,NAME…]" in run(command, "--help").out
