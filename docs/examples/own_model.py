"""Your own model: written with the zoo's layers, or exported by any framework to an ONNX file (model="FILE.onnx")."""

from types import SimpleNamespace

from edge import plugins
from edge_sim import Scenario, run


def build(layers, argument):
    """One hidden layer, as wide as `argument`, which is what follows the colon in the name."""
    x = layers.flatten(layers.input)
    hidden = layers.relu(layers.linear(x, int(argument or 32), "hidden"))
    return layers.linear(hidden, layers.classes, "output")


plugins.register("export.zoo", "mine", SimpleNamespace(build=build))

result = run(
    Scenario(
        model="zoo:mine:24", devices=4, split="classes:5", rounds=20, settings={"d-distillation": {"local_steps": 10}}
    )
)
print(f"{result.parameters} parameters, mean accuracy {result.mean_accuracy:.3f}")
print(result.frame()[["round", "accuracy_all", "consensus_distance"]])
