"""From one model to another: heads, adapters, splits, freezing, batch normalization, a frozen backbone.

>>> from export import zoo
>>> from export.transforms.trainable import select
>>> model = select(zoo.build("mlp:8", shape=(4,), classes=3), "last:1")
>>> [name for name in model.parameters if model.trains(name)]
['output.weight', 'output.bias']
"""
