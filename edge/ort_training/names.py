"""What the training artifacts call their inputs and outputs, for `export.artifacts`, which writes them, and the API."""

TRAINING_MODEL, EVAL_MODEL, OPTIMIZER_MODEL = "training_model.onnx", "eval_model.onnx", "optimizer_model.onnx"
CHECKPOINT, NOMINAL_CHECKPOINT = "checkpoint", "nominal_checkpoint"

GRADIENT = "_grad"
"""after a parameter's name: its gradient, an output of the training model"""
LEARNING_RATE, STEP, PARAMS, GRADIENTS = "learning_rate", "step", "params", "gradients"
"""inputs of the optimizer model. The parameters that are trained are one vector, and so are their gradients and each of
the optimizer's moments"""
MOMENTS = ("first_order_moments", "second_order_moments")
"""inputs of an optimizer model that has them"""
UPDATED = "updated_"
"""before the name of such a vector: its next value"""

FACTS = "murmur.ort_training"
"""key of a model's metadata, whose value is JSON: {"inputs", "outputs": names of what the caller gives and gets,
"noise": {input: probability that a mask keeps an element}, "statistics": {parameter: output that is its next value}}"""
