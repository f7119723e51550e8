"""Parameter names of the reference implementations → ours."""

from __future__ import annotations

from torch import Tensor, nn

# A name is rewritten by the first prefix that fits.
AGENT = (
    ("fc1.", "input_layer.linear."),
    ("rnn.weight_ih", "gru.weight_ih_l0"),
    ("rnn.weight_hh", "gru.weight_hh_l0"),
    ("rnn.bias_ih", "gru.bias_ih_l0"),
    ("rnn.bias_hh", "gru.bias_hh_l0"),
    ("phi.", "head.phi."),
    ("fc2.", "head.out."),
)
QMIX = (
    ("hyper_w_1.", "hyper_w1."),
    ("hyper_w_final.", "hyper_w2."),
    ("hyper_b_1.", "hyper_b1."),
    ("V.", "value."),
    # pymarl2 names them otherwise
    ("hyper_w1.", "hyper_w1."),
    ("hyper_w2.", "hyper_w2."),
    ("hyper_b1.0.", "hyper_b1."),
    ("hyper_b2.", "value."),
)
QATTEN = (
    ("query_embedding_layers.", "attention.queries."),
    ("key_embedding_layers.", "attention.keys."),
    ("head_embedding_layer.", "head_weights."),
    ("constrant_value_layer.", "value."),
)
QPLEX = (
    ("hyper_w_final.", "weights."),
    ("V.", "bias."),
    ("attention_weight.selector_extractors.", "attention.queries."),
    ("attention_weight.key_extractors.", "attention.keys."),
    ("attention_weight.hyper_w_head.", "head_weights."),
    ("attention_weight.V.", "value."),
    ("si_weight.key_extractors.", "importance.keys."),
    ("si_weight.agents_extractors.", "importance.agents."),
    ("si_weight.action_extractors.", "importance.actions."),
)
QTRAN = (
    ("Q.", "q."),
    ("V.", "v."),
    ("action_encoding.", "actions.encoder."),
)
SAME = (("", ""),)


def inside_wrapper(rules: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The rules of a mixer that is wrapped by another."""
    return tuple((theirs, f"mixer.{ours}") for theirs, ours in rules)


MIXER_MAPS = {
    "qmix": QMIX,
    "mean_shape(qmix)": inside_wrapper(QMIX),
    "qatten": QATTEN,
    "riskq": QATTEN,
    "qplex": QPLEX,
    "qplex_qatten": QPLEX,
    "mean_shape(qplex_qatten)": inside_wrapper(QPLEX),
}


def our_name(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    """Our name of a reference parameter.

    Raises:
        KeyError: If no rule fits.
    """
    for theirs, ours in rules:
        if name.startswith(theirs):
            return ours + name[len(theirs) :]
    raise KeyError(f"no rule maps the reference parameter {name!r}")


def load(module: nn.Module, weights: dict[str, Tensor], rules: tuple[tuple[str, str], ...]) -> None:
    """Give `module` the reference's weights: every parameter must get exactly one."""
    module.load_state_dict({our_name(name, rules): w for name, w in weights.items()}, strict=True)
