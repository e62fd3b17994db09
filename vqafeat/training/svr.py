"""Training of the head `svr`: a grid search over C and γ, with one matrix of distances for all of it.

scikit-learn's `GridSearchCV` averages the SROCC of the folds where this ranks all of their rows together, and
takes 20 times as long on 4096 channels, since it computes each kernel and each solution anew.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import GroupKFold, GroupShuffleSplit
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVR

from vqafeat.errors import ArgumentError, TrainingError
from vqafeat.metrics import evaluate_predictions
from vqafeat.splits import Split
from vqafeat.store.features import FeatureDataset, take
from vqafeat.training.checkpoint import TrainingResult
from vqafeat.training.config import FitConfig
from vqafeat.training.frame_sampling import WHOLE_VIDEOS, FrameInput, FrameSampler
from vqafeat.training.trainer import SplitTask

Values = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
# rows that are fitted on, and rows that are scored, as in scikit-learn
Fold = tuple[Rows, Rows]

# eval_singledatabase_SVR.py of https://github.com/zwx8981/TCSVT-2022-BVQA
C_VALUES = tuple(2.0**power for power in range(1, 11))
GAMMA_VALUES = tuple(2.0**power for power in range(-8, 2))


class Choice(NamedTuple):
    """The grid's best point, and its SROCC on the videos that selected it."""

    c: float
    gamma: float
    srocc: float


def train_svrs(
    data: FeatureDataset, tasks: Iterable[SplitTask], config: FitConfig, *unused: object
) -> list[TrainingResult]:
    """Fit a support vector regression on each of several splits.

    Libsvm runs on the processor, whatever the device, has no epochs and is done too soon for checkpoints.
    """
    return [train_svr(data, task, config) for task in tasks]


def train_svr(data: FeatureDataset, task: SplitTask, config: FitConfig) -> TrainingResult:
    """Fit a support vector regression on one split.

    As in the released `eval_singledatabase_SVR.py` of Li et al.: features are scaled to [0, 1] by the
    training part, labels are taken as they are, C and γ have the highest SROCC on the validation part (the
    first one in the order of the grid), and the fit is on the training part. Without a validation part, C and
    γ are chosen on the left-out videos of a cross-validation within the training part, or on a share of it;
    both are drawn from the seed and share no content with the rest.
    """
    split, (scaling,) = task.split, task.label_scalings
    epsilon, held_out = config.head_options["epsilon"], config.head_options["held_out"]
    rows, train = np.array([*split.train, *split.validation]), np.arange(len(split.train))
    means = _finite_means(data, rows, config.frame_input, task.seed)
    scaler = MinMaxScaler().fit(means[train])
    scaled = scaler.transform(means)
    cv = _folds(data, split, config, task.seed)
    distances, labels = euclidean_distances(scaled, squared=True), data.mos[rows]
    best = grid_search(distances, labels, cv, epsilon)
    model = _fitted(np.exp(-best.gamma * distances), labels, train, best.c, epsilon)
    weights = {
        "support": scaled[train[model.support_]],
        "coefficients": model.dual_coef_[0] / scaling.scale,
        "intercept": (model.intercept_[0] - scaling.shift) / scaling.scale,
        "gamma": best.gamma,
        "scale": scaler.scale_,
        "shift": scaler.min_,
    }
    how = f"{held_out:g} of the training part" if held_out else f"cross-validation in {len(cv)} folds"
    where = "validation" if split.validation else f"left-out ({how}, there is no validation part)"
    reason = f"C = {best.c:g}, gamma = {best.gamma:g}: highest {where} SROCC ({best.srocc:.4f})"
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in weights.items()}
    return TrainingResult(tensors, 0, reason, ())


def check_svr(data: FeatureDataset, split: Split, config: FitConfig) -> None:
    """Refuse data sets, and splits with options, that cannot be fitted."""
    if len(data.dataset_names) > 1:
        problem = f"knows one label scale, but the videos are from {' and '.join(data.dataset_names)}"
        next_step = "fit it on one data set, or train another head on several"
        raise ArgumentError(f"head '{config.head}' {problem}; {next_step}.")
    _folds(data, split, config, 0)


def grid_search(distances: Values, labels: Values, folds: Sequence[Fold], epsilon: float) -> Choice:
    """Return the C and γ whose scores of the left-out rows of all folds together have the highest SROCC.

    `distances` are the (row, row) squared distances of scaled features, `labels` are (row,).
    """
    scored = np.concatenate([left_out for _, left_out in folds])
    sroccs = np.empty((len(C_VALUES), len(GAMMA_VALUES)))
    for column, gamma in enumerate(GAMMA_VALUES):
        kernel = np.exp(-gamma * distances)
        scores = np.concatenate([_scores_along_c(kernel, labels, fold, epsilon) for fold in folds], axis=1)
        metrics = (evaluate_predictions(row, labels[scored], mapping="none") for row in scores)
        sroccs[:, column] = [item.srocc for item in metrics]
    if np.isnan(sroccs).all():
        raise TrainingError(
            f"no C and gamma of the grid ranks the {len(scored)} videos that they are chosen on: their "
            f"scores or labels are all the same; use a smaller --option epsilon ({epsilon:g}, in the labels' "
            "unit) or more videos, or look at the features with `vqafeat verify`."
        )
    at_c, at_gamma = np.unravel_index(np.nanargmax(sroccs), sroccs.shape)
    return Choice(C_VALUES[at_c], GAMMA_VALUES[at_gamma], float(sroccs[at_c, at_gamma]))


def _scores_along_c(kernel: Values, labels: Values, fold: Fold, epsilon: float) -> Values:
    """Return (C, scored row): once no coefficient is at its bound C, a larger C has the same solution."""
    fitted, scored = fold
    scores: list[Values] = []
    for c in C_VALUES:
        model = _fitted(kernel, labels, fitted, c, epsilon)
        support = fitted[model.support_]
        scores.append(kernel[np.ix_(scored, support)] @ model.dual_coef_[0] + model.intercept_[0])
        if not (np.abs(model.dual_coef_) >= c * (1 - 1e-9)).any():
            break
    return np.stack(scores + scores[-1:] * (len(C_VALUES) - len(scores)))


def _fitted(kernel: Values, labels: Values, rows: Rows, c: float, epsilon: float) -> SVR:
    return SVR(kernel="precomputed", C=c, epsilon=epsilon).fit(kernel[np.ix_(rows, rows)], labels[rows])


def _folds(data: FeatureDataset, split: Split, config: FitConfig, seed: int) -> list[Fold]:
    train = np.arange(len(split.train))
    folds, held_out = config.head_options["folds"], config.head_options["held_out"]
    if split.validation and held_out:
        raise ArgumentError(
            f"held_out is {held_out:g}, but the split has a validation part, which C and gamma are chosen "
            "on; draw splits without one (--ratio 80/20), or leave held_out out."
        )
    if split.validation:
        return [(train, len(train) + np.arange(len(split.validation)))]
    contents = [data.contents[row] for row in split.train]
    count = len(set(contents))
    if count < 2:
        raise TrainingError(
            f"the training part has {len(train)} videos of one content and there is no validation part; "
            "choosing C and gamma takes either a validation part (--ratio 60/20/20) or at least 2 contents."
        )
    state = seed % 2**32
    way: GroupShuffleSplit | GroupKFold = GroupKFold(min(folds, count), shuffle=True, random_state=state)
    if held_out:
        share = min(max(1, round(held_out * count)), count - 1)
        way = GroupShuffleSplit(1, test_size=share, random_state=state)
    return list(way.split(train, groups=contents))


def _finite_means(data: FeatureDataset, rows: Rows, frame_input: FrameInput, seed: int) -> Values:
    """Return (row, channel): the mean over the frames of each video in `rows`; all have to be finite."""
    if frame_input == WHOLE_VIDEOS:
        means = _video_means(data)[rows]
    else:
        frame_indices = FrameSampler(frame_input, data).validation(seed)
        selected = (take(data.features[row], frame_indices(row)) for row in rows)
        means = np.stack([np.mean(values, axis=0, dtype=np.float64) for values in selected])
    if bad := [data.names[row] for row in rows[~np.isfinite(means).all(axis=1)]]:
        raise TrainingError(
            f"the features of {len(bad)} video(s) hold NaN or infinity (first: {bad[0]}); extract them "
            "again, or leave these videos out."
        )
    return means


@lru_cache(maxsize=1)
def _video_means(data: FeatureDataset) -> Values:
    """Return (video, channel); kept for the next splits of the same fit, so that features are read once."""
    return np.stack([np.mean(values, axis=0, dtype=np.float64) for values in data.features])
