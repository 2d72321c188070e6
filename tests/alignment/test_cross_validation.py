"""Cross-validation on moments against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from ioi_lab.alignment.cross_validation import cross_validated_penalty, cross_validated_r2
from ioi_lab.alignment.maps import PENALTIES, FitSettings, Spectrum, ridge
from tests.alignment.conftest import correlated, moments


def test_cross_validation_chooses_what_scikit_learn_would():
    x, y = correlated(n=60, width=20, other=3, noise=30.0)
    folds = [rows for _, rows in KFold(4).split(x)]
    whole = moments(x, y)
    parts = []
    for rows in folds:
        fold = moments(x[rows], y[rows])
        rest = whole.without(fold)
        parts.append((rest, fold, Spectrum.of(rest)))
    errors = []
    for penalty in PENALTIES:
        error = 0.0
        for rows in folds:
            rest = np.setdiff1d(np.arange(len(x)), rows)
            alpha = penalty * len(rest) * x[rest].var(axis=0).mean()
            error += np.square(Ridge(alpha=alpha).fit(x[rest], y[rest]).predict(x[rows]) - y[rows]).sum()
        errors.append(error)
    chosen = cross_validated_penalty(parts)
    assert chosen == PENALTIES[int(np.argmin(errors))]
    assert PENALTIES[0] < chosen < PENALTIES[-1]


def test_cross_validated_r2_is_that_of_the_best_penalty():
    x, y = correlated(n=60, width=6, other=3, noise=5.0)
    whole, error, total = moments(x, y), np.zeros(len(PENALTIES)), 0.0
    parts = []
    for rest_rows, rows in KFold(4).split(x):
        rest, fold = whole.without(moments(x[rows], y[rows])), moments(x[rows], y[rows])
        parts.append((rest, fold, Spectrum.of(rest)))
        total += np.square(y[rows] - y[rest_rows].mean(axis=0)).sum()
        for index, penalty in enumerate(PENALTIES):
            fitted = ridge(rest, FitSettings(penalty=penalty))(torch.from_numpy(x[rows])).numpy()
            error[index] += np.square(y[rows] - fitted).sum()
    assert cross_validated_r2(parts) == pytest.approx(1 - error.min() / total)
