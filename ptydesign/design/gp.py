"""Gaussian-process regression for the search: scikit-optimize's, with a Matern kernel of nu = 1 that has gradients.

Cao et al. (Sci. Rep. 12:12284, 2022) use a Matern kernel with nu = 1. scikit-learn computes it from the general
formula, with slow Bessel functions and finite differences, and scikit-optimize has no gradient for it at all. The
closed form is k = z K1(z) with z = sqrt(2) r and r the distance in length scales (Rasmussen & Williams 2006, eq. 4.14).
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.linalg import LinAlgError
from scipy.optimize import fmin_l_bfgs_b
from scipy.spatial.distance import cdist, pdist, squareform
from scipy.special import k0, k1
from sklearn.exceptions import ConvergenceWarning
from skopt.learning import GaussianProcessRegressor
from skopt.learning.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

# Bounds of the hyperparameters, for features in [0, 1] and standardised values. A length scale below the lower one
# would interpolate noise, above the upper one the parameter has no influence anyway.
LENGTH_BOUNDS = (0.05, 20.0)
AMPLITUDE_BOUNDS = (0.05, 50.0)
NOISE_BOUNDS = (1e-4, 2.0)
SUBSET = 250  # observations with which a first fit tries several starts
START = (1.0, 0.5, 0.05)  # amplitude, length scales, noise


class MaternOne(Matern):
    """Matern kernel with nu = 1 in closed form, with analytic gradients by length scale and by position.

    The same parameters and results as `Matern(nu=1)`, which is the reference in the tests.
    """

    def __init__(self, length_scale=1.0, length_scale_bounds=(1e-5, 1e5), nu=1.0):
        super().__init__(length_scale=length_scale, length_scale_bounds=length_scale_bounds, nu=nu)

    def __call__(self, X, Y=None, eval_gradient=False):
        """(n, m) covariances; with `eval_gradient` also (n, n, hyperparameters) derivatives by log length scale."""
        X = np.atleast_2d(X) / np.asarray(self.length_scale)
        if Y is not None:
            if eval_gradient:
                raise ValueError("Gradient can only be evaluated when Y is None.")
            return _correlation(np.sqrt(2) * cdist(X, np.atleast_2d(Y) / np.asarray(self.length_scale)))
        z = np.sqrt(2) * pdist(X)
        K = squareform(_correlation(z))
        np.fill_diagonal(K, 1.0)
        if not eval_gradient:
            return K
        if self.hyperparameter_length_scale.fixed:
            return K, np.empty((len(X), len(X), 0))
        bessel = squareform(_bessel_zero(z))
        if not self.anisotropic or np.size(self.length_scale) == 1:  # d k / d log l = z^2 K0(z)
            return K, (squareform(z) ** 2 * bessel)[:, :, None]
        gradient = np.empty((len(X), len(X), X.shape[1]))
        for i in range(X.shape[1]):  # d k / d log l_i = 2 K0(z) d_i^2 / l_i^2
            gradient[:, :, i] = 2 * bessel * (X[:, i, None] - X[None, :, i]) ** 2
        return K, gradient

    def gradient_x(self, x, X_train):
        """(n, features) derivatives of k(x, X_train) by x: -2 K0(z) (x_i - X_i) / l_i^2, zero where x = X."""
        length = np.asarray(self.length_scale)
        difference = (np.asarray(x).reshape(-1) - np.asarray(X_train)) / length
        z = np.sqrt(2 * np.sum(difference**2, axis=1))
        return -2 * _bessel_zero(z)[:, None] * difference / length


class Predicted:
    """A regressor at points where its prediction is known, for several acquisition functions at the same points."""

    def __init__(self, mean: np.ndarray, std: np.ndarray):
        self.mean, self.std = mean, std

    def predict(self, X, return_std=True):
        """The known (n,) mean and standard deviation."""
        return self.mean, self.std


class Regressor(GaussianProcessRegressor):
    """scikit-optimize's regressor with a prediction of order n^2 instead of n^2 times a slow loop.

    `predict` returns the same values as the base class (by test): those of the function, without the noise.
    """

    def predict(self, X, return_std=False, return_cov=False, return_mean_grad=False, return_std_grad=False):
        """Mean (n,), and as asked: standard deviation (n,), and for a single point their gradients (features,)."""
        if return_cov or not hasattr(self, "X_train_"):
            return super().predict(X, return_std=return_std, return_cov=return_cov)
        X = np.atleast_2d(X)
        cross = self.kernel_(X, self.X_train_)
        mean = cross @ self.alpha_ * self._y_train_std + self._y_train_mean
        if not (return_std or return_mean_grad or return_std_grad):
            return mean
        weighted = cross @ self.K_inv_
        variance = self.kernel_.diag(X) - np.einsum("ij,ij->i", weighted, cross)
        std = np.sqrt(np.maximum(variance, 0.0)) * self._y_train_std
        result = [mean, std] if return_std else [mean]
        if return_mean_grad or return_std_grad:
            slope = self.kernel_.gradient_x(X[0], self.X_train_)
        if return_mean_grad:
            result.append(slope.T @ self.alpha_ * self._y_train_std)
        if return_std_grad:
            positive = std[0] > 0
            result.append(-(weighted @ slope)[0] * self._y_train_std**2 / std[0] if positive else np.zeros(X.shape[1]))
        return tuple(result)


def kernel(nu: float, theta: np.ndarray | None, features: int):
    """amplitude * Matern(nu) + white noise, one length scale for each feature, at hyperparameters `theta`.

    theta: (features + 2,) logarithms of amplitude, length scales, noise; None for the usual start.
    """
    amplitude, length, noise = START
    lengths = np.full(features, length)
    if theta is not None:
        values = np.exp(np.asarray(theta, float))
        amplitude, lengths, noise = values[0], values[1:-1], values[-1]
    matern = MaternOne if nu == 1.0 else Matern
    return ConstantKernel(float(amplitude), AMPLITUDE_BOUNDS) * matern(
        length_scale=lengths, length_scale_bounds=[LENGTH_BOUNDS] * features, nu=nu
    ) + WhiteKernel(float(noise), NOISE_BOUNDS)


def fit_hyperparameters(
    features: np.ndarray, values: np.ndarray, nu: float, start: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """(features + 2,) logarithms of the most likely hyperparameters (Rasmussen & Williams 2006, section 5.4).

    features: (n, features) in [0, 1]. values: (n,) standardised. start: hyperparameters of an earlier fit, from which
    one ascent begins; without them, ascents from the usual start and two random ones, of which the best counts (with
    many observations on a random part of them, before the ascent with all).
    """
    count = features.shape[1]
    if start is None and len(values) > SUBSET:
        part = rng.choice(len(values), SUBSET, replace=False)
        start = fit_hyperparameters(features[part], values[part], nu, None, rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = Regressor(
            kernel=kernel(nu, start, count),
            optimizer=_ascend,
            n_restarts_optimizer=2 if start is None else 0,
            noise="gaussian",
            random_state=int(rng.integers(2**31 - 1)),
        )
        model.fit(features, values)
    inner = model.kernel_.k1  # the regressor sets the noise to zero after fitting and keeps it in noise_
    return np.append(inner.theta, np.log(model.noise_))


def regress(features: np.ndarray, values: np.ndarray, nu: float, theta: np.ndarray) -> Regressor:
    """A regressor fitted to (n, features) and (n,) with hyperparameters kept at `theta`."""
    for _ in range(6):
        model = Regressor(kernel=kernel(nu, theta, features.shape[1]), optimizer=None, noise="gaussian")
        try:
            return model.fit(features, values)
        except LinAlgError:  # nearly coincident points and almost no noise: a little more noise
            theta = np.append(theta[:-1], theta[-1] + np.log(10.0))
    raise LinAlgError("The covariance of the observations is singular even with noise.")


def _ascend(objective, start, bounds):
    """sklearn's hook: minimise `objective` from `start`. 40 iterations, as the likelihood is flat near its maximum."""
    best, value, _ = fmin_l_bfgs_b(objective, start, bounds=bounds, maxiter=40)
    return best, value


def _correlation(z: np.ndarray) -> np.ndarray:
    """z K1(z), 1 at z = 0. K1 overflows below 1e-308 only; subnormal distances are the same point."""
    near = z < 1e-100
    return np.where(near, 1.0, z * k1(np.where(near, 1.0, z)))


def _bessel_zero(z: np.ndarray) -> np.ndarray:
    """K0(z), and 0 at z = 0, where it is always multiplied by a difference that vanishes faster."""
    near = z < 1e-100
    return np.where(near, 0.0, k0(np.where(near, 1.0, z)))
