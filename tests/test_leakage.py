"""What leaks from training to test, counted by hand."""

from vqafeat.splits import Leak, LeakageReport, Split, content_split, video_split

CONTENTS = ["a", "a", "b", "b", "b", "c", "d", "d"]


def test_a_split_that_leaks() -> None:
    # a is in training and test, b in validation and test, c in test alone
    assert Leak.of(Split((0, 6), (2,), (1, 3, 4, 5, 7)), CONTENTS) == Leak(
        test_videos=5, seen_videos=2, test_contents=4, seen_contents=2
    )


def test_the_note_tells_the_worst_split() -> None:
    splits = [Split((0,), (), (1, 2)), Split((0,), (), (1,)), Split((0,), (), (2, 3))]
    report = LeakageReport.of(splits, CONTENTS)
    assert report.note.startswith(
        "content leaks in 2 of 3 splits: up to 1 of 1 test videos (1 of 1 contents) were seen in training"
    )
    assert report.as_dict()["splits"][2] == {
        "test_videos": 2,
        "seen_videos": 0,
        "test_contents": 1,
        "seen_contents": 0,
    }


def test_grouped_splits_do_not_leak_and_drawn_videos_do() -> None:
    contents = [f"c{row % 45}" for row in range(315)]
    assert LeakageReport.of([content_split(contents, seed) for seed in range(5)], contents).note == ""
    drawn = LeakageReport.of([video_split([f"v{row}" for row in range(315)], 0)], contents)
    assert drawn.splits[0].seen_contents == drawn.splits[0].test_contents
    assert "1 of 1 splits: up to 63 of 63 test videos" in drawn.note
