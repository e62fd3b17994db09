"""Each kind of distortion measured by a property that is known from outside: spectra, combs, cadences,
counts.
"""

from itertools import groupby, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from vqafeat.demo.camera import Pictures, plan_camera
from vqafeat.demo.distortions import FIELDS_BEYOND_END, KINDS, Clip, Kind, every_frame
from vqafeat.errors import ArgumentError

FRAMES, RATE_HZ = 24, 24
SEVERITIES = range(1, 6)


@pytest.fixture(scope="module")
def clip() -> Clip:
    camera = plan_camera(0, 0)
    return Clip(camera.render(np.arange(2 * FRAMES + FIELDS_BEYOND_END) / (2 * RATE_HZ)), RATE_HZ)


def distorted(clip: Clip, kind: str, severity: int) -> Pictures:
    entry = KINDS[kind]
    shown = entry.shown(FRAMES, entry.amount(severity), np.random.default_rng(1))
    return entry.alter(clip, shown, entry.amount(severity), np.random.default_rng(2))


def pristine_luma(clip: Clip) -> NDArray[np.float64]:
    return clip.fields.luma[: 2 * FRAMES : 2].astype(np.float64)


def holds(shown: NDArray[np.int64]) -> list[int]:
    return [len(list(group)) for _, group in groupby(shown.tolist())]


def test_kinds__are_those_of_live_apv() -> None:
    assert sorted(KINDS) == [
        "aliasing",
        "compression",
        "flicker",
        "frame-drop",
        "interlacing",
        "judder",
        "pristine",
    ]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "pristine"])
def test_score__falls_with_severity_from_the_pristine_one(kind: str) -> None:
    scores = [KINDS[kind].score(severity) for severity in range(6)]
    assert scores[0] == KINDS["pristine"].score(0) == 90
    assert all(milder > harsher for milder, harsher in pairwise(scores))
    assert scores[-1] > 0


def test_kinds__each_has_its_own_slope() -> None:
    assert len({KINDS[kind].slope for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", list(KINDS))
def test_kinds__severity_zero_changes_nothing(clip: Clip, kind: str) -> None:
    if KINDS[kind].alter is KINDS["pristine"].alter and KINDS[kind].shown is every_frame:
        np.testing.assert_array_equal(distorted(clip, kind, 0).luma, pristine_luma(clip))
    assert KINDS[kind].crf(0) == 8


def test_kinds__compression_alone_leaves_its_work_to_the_encoder() -> None:
    assert [kind for kind in KINDS if KINDS[kind].amount_is_crf] == ["compression"]
    assert [KINDS["compression"].crf(severity) for severity in SEVERITIES] == [32, 36, 40, 44, 48]


@pytest.mark.parametrize("severity", SEVERITIES)
def test_aliasing__adds_high_frequencies_that_a_low_pass_would_remove(clip: Clip, severity: int) -> None:
    def high_frequencies(luma: NDArray[np.float64]) -> float:
        window = np.hanning(luma.shape[2]) * np.hanning(luma.shape[1])[:, None]
        power = (np.abs(np.fft.fft2((luma - luma.mean()) * window)) ** 2).mean(0)
        rows, columns = np.fft.fftfreq(luma.shape[1])[:, None], np.fft.fftfreq(luma.shape[2])
        return float(power[np.hypot(rows, columns) > 0.25].sum())

    factor = KINDS["aliasing"].amount(severity)
    blur = 0.5 * np.sqrt(factor**2 - 1)
    luma, cb, cr = (gaussian_filter(plane, (0, blur, blur)) for plane in clip.fields)
    spared = Clip(Pictures(luma, cb, cr), clip.frame_rate_hz)
    aliased, filtered = (
        distorted(source, "aliasing", severity).luma.astype(np.float64) for source in (clip, spared)
    )
    assert high_frequencies(aliased) > 1.5 * high_frequencies(filtered)


def test_aliasing__grows_with_severity(clip: Clip) -> None:
    errors = [
        float(np.abs(distorted(clip, "aliasing", severity).luma - pristine_luma(clip)).mean())
        for severity in SEVERITIES
    ]
    assert all(milder < harsher for milder, harsher in pairwise(errors))


def test_aliasing__only_repeats_pristine_samples(clip: Clip) -> None:
    luma = distorted(clip, "aliasing", 2).luma
    np.testing.assert_array_equal(luma[:, 1::2, 1::2], pristine_luma(clip)[:, 1::2, 1::2])
    np.testing.assert_array_equal(luma[:, 1::2, 1::2], luma[:, ::2, ::2])


def test_interlacing__combs_more_with_severity(clip: Clip) -> None:
    def comb(luma: NDArray[np.float64]) -> float:
        return float(np.abs(luma[:, 1:-1:2] - (luma[:, :-2:2] + luma[:, 2::2]) / 2).mean())

    combs = [
        comb(distorted(clip, "interlacing", severity).luma.astype(np.float64)) for severity in SEVERITIES
    ]
    assert all(milder < harsher for milder, harsher in pairwise([comb(pristine_luma(clip)), *combs]))


@pytest.mark.parametrize(("severity", "distance"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 6)])
def test_interlacing__weaves_two_moments(clip: Clip, severity: int, distance: int) -> None:
    luma = distorted(clip, "interlacing", severity).luma
    np.testing.assert_array_equal(luma[:, ::2], clip.fields.luma[: 2 * FRAMES : 2, ::2])
    np.testing.assert_array_equal(luma[:, 1::2], clip.fields.luma[distance : 2 * FRAMES + distance : 2, 1::2])


@pytest.mark.parametrize(
    ("severity", "cadence"), [(1, (2, 1)), (2, (3, 2)), (3, (4, 3)), (4, (5, 4)), (5, (6, 5))]
)
def test_judder__holds_pictures_for_unequal_times(severity: int, cadence: tuple[int, int]) -> None:
    kind = KINDS["judder"]
    shown = kind.shown(66, kind.amount(severity), np.random.default_rng(0))
    repeated = holds(shown)[:-1]
    assert repeated == [cadence[number % 2] for number in range(len(repeated))]
    assert set(np.diff(np.unique(shown))) == {sum(cadence)}


def test_flicker__moves_the_mean_luma_at_six_hertz(clip: Clip) -> None:
    depths = []
    for severity in SEVERITIES:
        luma = distorted(clip, "flicker", severity).luma.astype(np.float64)
        gain = (luma.mean((1, 2)) - 16) / (pristine_luma(clip).mean((1, 2)) - 16) - 1
        spectrum = np.abs(np.fft.rfft(gain)) / len(gain) * 2
        assert np.fft.rfftfreq(FRAMES, 1 / RATE_HZ)[1:][spectrum[1:].argmax()] == 6
        depths.append(float(spectrum.max()))
    assert all(milder < harsher for milder, harsher in pairwise(depths))
    assert depths[0] == pytest.approx(KINDS["flicker"].amount(1), rel=0.15)


def test_flicker__leaves_colour_alone(clip: Clip) -> None:
    np.testing.assert_array_equal(distorted(clip, "flicker", 5).cb, clip.fields.cb[: 2 * FRAMES : 2])


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("frames", [12, 48, 60, 300])
def test_frame_drop__loses_its_share_and_returns_in_time(severity: int, frames: int) -> None:
    kind = KINDS["frame-drop"]
    for seed in range(20):
        shown = kind.shown(frames, kind.amount(severity), np.random.default_rng(seed))
        lost = np.flatnonzero(np.diff(shown) == 0) + 1
        assert len(shown) == frames
        assert len(lost) == max(1, round(kind.amount(severity) * frames))
        arrived = np.setdiff1d(np.arange(frames), lost)
        assert arrived[0] == 0
        np.testing.assert_array_equal(shown[arrived], 2 * arrived)
        assert max(holds(shown)) <= 5


def test_frame_drop__follows_its_generator() -> None:
    kind = KINDS["frame-drop"]
    first, again, other = (kind.shown(60, 0.25, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_kinds__have_an_amount_for_every_severity() -> None:
    assert {len(KINDS[kind].amounts) for kind in KINDS if kind != "pristine"} == {5}
    assert KINDS["pristine"].amounts == ()


def test_kinds__refuse_wrong_amounts_and_severities() -> None:
    for score_or_amount in (KINDS["flicker"].score, KINDS["flicker"].amount):
        for severity in (-1, 6):
            with pytest.raises(ArgumentError, match=f"severity is {severity}; it has to be 0 to 5"):
                score_or_amount(severity)
    with pytest.raises(ArgumentError, match="severity is 1; it has to be 0 to 0"):
        KINDS["pristine"].score(1)
    with pytest.raises(ArgumentError, match=r"amounts are \(1,\), slope is 2; give 5 amounts or none"):
        Kind("", (1,), 2)
    with pytest.raises(ArgumentError, match=r"slope is -1; .* a slope of at least 0"):
        Kind("", (), -1)
