"""Keras models as tf2onnx writes them. Run by `make sources`, in an environment of its own.

python keras_models.py FOLDER
"""

import sys
from pathlib import Path

import tensorflow as tf
import tf2onnx

L = tf.keras.layers
stem = [L.Conv2D(8, 3, strides=2, padding="same"), L.BatchNormalization(), L.ReLU()]
rest = [L.DepthwiseConv2D(3, padding="same"), L.ReLU(6.0), L.MaxPooling2D(), L.Flatten(), L.Dense(10)]
models = {
    "cnn": ((16, 16, 1), [*stem, *rest]),
    "gru": ((12, 9), [L.GRU(16, unroll=True), L.Dense(6, activation="softmax")]),
}
for name, (shape, layers) in models.items():
    tf.keras.utils.set_random_seed(0)
    model = tf.keras.Sequential([L.Input(shape), *layers])
    call = tf.function(lambda x, model=model: model(x))
    signature = [tf.TensorSpec((None, *shape), tf.float32, name="x")]
    path = str(Path(sys.argv[1]) / f"keras-{name}.onnx")
    tf2onnx.convert.from_function(call, signature, opset=17, output_path=path)
