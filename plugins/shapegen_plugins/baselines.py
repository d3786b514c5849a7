"""The classical generators of latents: what a denoiser has to be better than."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from shapegen import Config, Plugin, hookimpl


class GaussianConfig(Config):
    shrinkage: float | None = Field(
        None, ge=0, le=1, description="Part of the covariance that is spherical; null: Ledoit and Wolf's estimate."
    )


class KernelDensityConfig(Config):
    bandwidth: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Standard deviation of the kernel, in standardised latents; null: by held-out likelihood.",
    )
    keep_variance: bool = Field(
        True,
        description="Draw the kernels' centres together, so that the draws vary no more than the training latents.",
    )


class GaussianMixtureConfig(Config):
    components: int | None = Field(None, ge=1, description="Number of components; null: chosen, up to `most`.")
    covariance: Literal["spherical", "diag", "tied", "full"] | None = Field(
        None, description="Form of the components' covariances, as scikit-learn names them; null: chosen."
    )
    most: int = Field(8, ge=1, description="Largest number of components to try.")
    criterion: Literal["held-out", "bic"] = Field(
        "held-out", description="What chooses: likelihood of the validation rows, or BIC on the training rows."
    )
    floor: float = Field(1e-3, gt=0, allow_inf_nan=False, description="Variance added to every entry.")


def build_gaussian(config: GaussianConfig) -> Any:
    from shapegen_plugins.gaussian import Gaussian

    return Gaussian(config)


def build_kernel_density(config: KernelDensityConfig) -> Any:
    from shapegen_plugins.kernel_density import KernelDensity

    return KernelDensity(config)


def build_gaussian_mixture(config: GaussianMixtureConfig) -> Any:
    from shapegen_plugins.gaussian_mixture import Mixture

    return Mixture(config)


@hookimpl
def shapegen_generators() -> Iterator[Plugin]:
    yield Plugin(
        name="gaussian",
        summary="One Gaussian with a shrunk covariance (Ledoit and Wolf 2004)",
        build=build_gaussian,
        config=GaussianConfig,
    )
    yield Plugin(
        name="gaussian-mixture",
        summary="Mixture of Gaussians; components and covariances by held-out likelihood or BIC",
        build=build_gaussian_mixture,
        config=GaussianMixtureConfig,
    )
    yield Plugin(
        name="kernel-density",
        summary="Gaussian kernel density: a training latent, moved by noise of the held-out likelihood's best width",
        build=build_kernel_density,
        config=KernelDensityConfig,
    )
