"""An int8 backbone for the tests: a small convolutional network that learnt the digits 0 to 4, without its last layer.

python int8_backbone.py FOLDER      (an environment with tensorflow-cpu 2.19 and scikit-learn, as `make sources` makes)

What it has never seen, 5 to 9, is for a head behind it to learn.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

L = tf.keras.layers
tf.keras.utils.set_random_seed(0)
digits = load_digits()
x, y = (digits.images / 16).astype(np.float32)[..., None], digits.target
known = y < 5
features = tf.keras.Sequential(
    [
        L.Input((8, 8, 1)),
        L.Conv2D(16, 3, padding="same", activation="relu"),
        L.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
        L.DepthwiseConv2D(3, padding="same", activation="relu"),
        L.Conv2D(48, 1, activation="relu"),
        L.GlobalAveragePooling2D(),
    ]
)
whole = tf.keras.Sequential([features, L.Dense(5)])
whole.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
whole.fit(x[known], y[known], epochs=30, batch_size=32, verbose=0)

# The last layer stays in the file: a backbone people have usually is a classifier that has to be cut.
converter = tf.lite.TFLiteConverter.from_keras_model(whole)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([image[None]] for image in x[known][:200])
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
path = Path(sys.argv[1]) / "digits-int8.tflite"
path.write_bytes(converter.convert())
