"""Regression: the closed-form Matern kernel against scikit-learn's, every gradient against finite differences."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process.kernels import Matern as SklearnMatern
from skopt.learning import GaussianProcessRegressor

from ptydesign.design.gp import MaternOne, fit_hyperparameters, kernel, regress

LENGTHS = np.array([0.3, 1.0, 2.5])


@pytest.fixture
def points():
    rng = np.random.default_rng(1)
    X = rng.random((17, 3))
    X[5] = X[4]  # a repeated point: K1 and K0 are singular there
    return X, rng.random((6, 3))


def test_kernel_equals_sklearn(points):
    X, Y = points
    np.testing.assert_allclose(MaternOne(LENGTHS)(X), SklearnMatern(LENGTHS, nu=1.0)(X), rtol=1e-12)
    np.testing.assert_allclose(MaternOne(LENGTHS)(X, Y), SklearnMatern(LENGTHS, nu=1.0)(X, Y), rtol=1e-12)
    np.testing.assert_allclose(MaternOne(0.7)(X), SklearnMatern(0.7, nu=1.0)(X), rtol=1e-12)
    assert np.all(np.isfinite(MaternOne(LENGTHS)(X * 1e-200)))
    assert np.all(np.isfinite(MaternOne(LENGTHS)(X * 1e6)))


@pytest.mark.parametrize("length", [LENGTHS, 0.7])
def test_gradient_by_length_scale(points, length):
    X, _ = points
    matern = MaternOne(length)
    _, gradient = matern(X, eval_gradient=True)
    h = 1e-6
    for i in range(len(matern.theta)):
        step = np.eye(len(matern.theta))[i] * h
        up = matern.clone_with_theta(matern.theta + step)(X)
        down = matern.clone_with_theta(matern.theta - step)(X)
        np.testing.assert_allclose(gradient[:, :, i], (up - down) / (2 * h), atol=1e-8)
    assert gradient.shape == (17, 17, np.size(length))


def test_gradient_by_position(points):
    X, Y = points
    matern = MaternOne(LENGTHS)
    gradient = matern.gradient_x(Y[0], X)
    h = 1e-6
    for i, step in enumerate(np.eye(3) * h):
        difference = (matern(Y[:1] + step, X) - matern(Y[:1] - step, X))[0] / (2 * h)
        np.testing.assert_allclose(gradient[:, i], difference, atol=1e-8)
    assert np.all(np.isfinite(matern.gradient_x(X[4], X)))
    assert np.all(matern.gradient_x(X[4], X)[5] == 0)


def test_kernel_can_be_cloned_and_has_fixed_hyperparameters(points):
    X, _ = points
    assert clone(MaternOne(LENGTHS)) == MaternOne(LENGTHS)
    _, gradient = MaternOne(LENGTHS, "fixed")(X, eval_gradient=True)
    assert gradient.shape == (17, 17, 0)
    with pytest.raises(ValueError, match="Y is None"):
        MaternOne(LENGTHS)(X, X, eval_gradient=True)


@pytest.mark.parametrize("nu", [1.0, 2.5])
def test_prediction_equals_scikit_optimize_and_its_gradients(points, nu):
    X, Y = points
    values = np.sin(6 * X[:, 0]) + X[:, 1]
    theta = np.log([1.3, *LENGTHS, 0.01])
    model = regress(X, values, nu, theta)
    mean, std = model.predict(Y, return_std=True)
    reference = GaussianProcessRegressor.predict(model, Y, return_std=True)
    np.testing.assert_allclose(mean, reference[0], rtol=1e-10)
    np.testing.assert_allclose(std, reference[1], rtol=1e-8)
    np.testing.assert_allclose(model.predict(Y), mean)

    _, _, mean_slope, std_slope = model.predict(Y[:1], return_std=True, return_mean_grad=True, return_std_grad=True)
    h = 1e-6
    for i, step in enumerate(np.eye(3) * h):
        up, down = (model.predict(Y[:1] + s, return_std=True) for s in (step, -step))
        np.testing.assert_allclose(mean_slope[i], (up[0] - down[0])[0] / (2 * h), rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(std_slope[i], (up[1] - down[1])[0] / (2 * h), rtol=1e-4, atol=1e-7)


def test_posterior_is_the_textbook_formula(points):
    """Mean and variance by Rasmussen & Williams eq. 2.25, 2.26 with plain inverses and scikit-learn's kernel."""
    X, Y = points
    values = np.cos(5 * X[:, 2])
    amplitude, noise = 1.3, 0.04
    model = regress(X, values, 1.0, np.log([amplitude, *LENGTHS, noise]))
    matern = SklearnMatern(LENGTHS, nu=1.0)
    inverse = np.linalg.inv(amplitude * matern(X) + noise * np.eye(len(X)))
    cross = amplitude * matern(Y, X)
    mean, std = model.predict(Y, return_std=True)
    np.testing.assert_allclose(mean, cross @ inverse @ values, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(std**2, amplitude - np.sum(cross @ inverse * cross, axis=1), rtol=1e-8)


@pytest.mark.parametrize("count", [120, 300])
def test_hyperparameters_find_noise_and_relevance(count):
    """Noise of known size, one parameter with influence and one without; 300 takes the way by a subset."""
    rng = np.random.default_rng(3)
    X = rng.random((count, 2))
    values = np.sin(7 * X[:, 0])
    values = values / np.std(values) + 0.3 * rng.standard_normal(count)
    theta = fit_hyperparameters(X, values, 1.0, None, rng)
    _, relevant, irrelevant, noise = np.exp(theta)
    assert irrelevant > 5 * relevant
    assert 0.05 < noise < 0.16  # variance 0.09
    again = fit_hyperparameters(X, values, 1.0, theta, rng)
    np.testing.assert_allclose(again[[1, 3]], theta[[1, 3]], atol=0.1)


def test_repeated_points_without_noise_do_not_crash():
    X = np.repeat(np.random.default_rng(0).random((4, 2)), 30, axis=0)
    model = regress(X, X[:, 0], 2.5, np.log([50.0, 20.0, 20.0, 1e-20]))
    assert np.all(np.isfinite(model.predict(X)))
    assert kernel(2.5, None, 2).theta.shape == (4,)
