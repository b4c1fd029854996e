"""Masks by queries, as in Mask2Former (Cheng et al., arXiv 2112.01527), one query for each bone."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ramjax import anatomy
from ramjax.models import initializers, layers
from ramjax.models.attention import Perceptron, attend
from ramjax.models.decoders.pyramids import FeaturePyramid
from ramjax.models.decoders.unet import position_waves

LAYERS_A_LEVEL = 1
"""How often the queries look at each of the coarser levels; the paper has three."""

HEAD_WIDTH = 32
"""Channels of an attention head, as in the paper."""

EPSILON = 1e-5


class QueryLayer(nnx.Module):
    """Queries look at a level where their masks are, then at each other; normalised after each, as in the paper."""

    def __init__(self, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.heads = max(head for head in range(1, max(width // HEAD_WIDTH, 1) + 1) if width % head == 0)

        def linear():
            return layers.Linear(width, width, dtype=dtype, rngs=rngs)

        self.across = nnx.List([linear() for _ in range(4)])
        self.among = nnx.List([linear() for _ in range(4)])
        self.perceptron = Perceptron(width, 4 * width, dtype=dtype, rngs=rngs)
        self.norms = nnx.List([layers.layer_norm(width, EPSILON, dtype=dtype, rngs=rngs) for _ in range(3)])

    def __call__(
        self,
        queries: Float[Array, "b n c"],
        places: Float[Array, "n c"],
        level: Float[Array, "b m c"],
        waves: Float[Array, "m c"],
        bias: Float[Array, "b 1 n m"],
    ) -> Float[Array, "b n c"]:
        """Returns the queries after the layer.

        Args:
          queries: as they are.
          places: what tells the queries apart, added where they ask.
          level: the pixels of a level.
          waves: what tells its pixels apart, added to the keys.
          bias: of the attention; very negative where a query's mask is not.
        """
        query, key, value, out = self.across
        seen = attend(query(queries + places), key(level + waves), value(level), self.heads, bias)
        queries = self.norms[0](queries + out(seen))
        query, key, value, out = self.among
        told = attend(query(queries + places), key(queries + places), value(queries), self.heads)
        queries = self.norms[1](queries + out(told))
        return self.norms[2](queries + self.perceptron(queries))


class MaskTransformer(nnx.Module):
    """A feature pyramid, whose coarser levels the queries look at one after the other, from the coarsest.

    A query's mask is its product with the finest features. The finest dense features are a mixture of those and the
    masks, so that every head can use these; which mask is which bone's, the head of the bones learns.

    Other than in the paper and its code, the pyramid has no deformable attention, the levels no embedding; perceptrons
    have GELU rather than ReLU and four times the width rather than eight, and one hidden layer rather than two before
    the masks, which are divided by the root of the width; and a mask is made smaller by means.
    """

    def __init__(
        self, widths: tuple[int, ...], out_features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs, remat: str = "none"
    ):
        self.pixels = FeaturePyramid(widths, out_features, dtype=dtype, rngs=rngs, remat=remat)
        self.widths = self.pixels.widths
        self.queries = nnx.Param(initializers.embedding_normal(rngs.params(), (anatomy.NUM_BONES, out_features)))
        self.places = nnx.Param(initializers.embedding_normal(rngs.params(), (anatomy.NUM_BONES, out_features)))
        self.norm = layers.layer_norm(out_features, EPSILON, dtype=dtype, rngs=rngs)
        self.embed = Perceptron(out_features, out_features, dtype=dtype, rngs=rngs)
        count = LAYERS_A_LEVEL * (len(widths) - 1)
        self.layers = nnx.List([QueryLayer(out_features, dtype=dtype, rngs=rngs) for _ in range(count)])
        self.mix = layers.Pointwise(out_features + anatomy.NUM_BONES, out_features, dtype=dtype, rngs=rngs)

    def __call__(self, pyramid: list[Float[Array, "b _ _ _"]]) -> list[Float[Array, "b _ _ _"]]:
        """Returns every level, finest first."""
        levels = self.pixels(pyramid)
        finest, coarser = levels[0], levels[:0:-1]
        queries = jnp.broadcast_to(self.queries[...], (finest.shape[0], *self.queries.shape)).astype(finest.dtype)
        places = self.places[...].astype(finest.dtype)
        masks = self._masks(queries, finest)
        for number, layer in enumerate(self.layers):
            level = coarser[number % len(coarser)]
            b, h, w, c = level.shape
            bias = _outside(masks, h, w)
            waves = position_waves(h, w, c).astype(level.dtype)
            queries = layer(queries, places, level.reshape(b, h * w, c), waves, bias)
            masks = self._masks(queries, finest)
        return [jax.nn.relu(self.mix(jnp.concatenate([finest, masks], -1))), *levels[1:]]

    def _masks(self, queries, finest):
        """Logits (b, h, w, n)."""
        embedded = self.embed(self.norm(queries))
        return jnp.einsum("bhwc,bnc->bhwn", finest, embedded) / jnp.sqrt(jnp.asarray(finest.shape[-1], finest.dtype))


def _outside(masks: Float[Array, "b h w n"], height: int, width: int) -> Float[Array, "b 1 n m"]:
    """The bias of attention on a coarser grid: very negative where a mask is unlikely, 0 for a mask that is nowhere.

    No gradient passes, as in the paper.
    """
    b, h, w, n = masks.shape
    cells = masks.reshape(b, height, h // height, width, w // width, n).mean((2, 4)).reshape(b, -1, n)
    away = jax.lax.stop_gradient(cells) < 0
    away = away & ~away.all(1, keepdims=True)
    return jnp.where(away, -1e9, 0.0).astype(masks.dtype).transpose(0, 2, 1)[:, None]
