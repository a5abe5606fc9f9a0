"""The training step: a model placed in a graph, its losses, their gradients, and the update.

>>> from export import zoo
>>> from export.training.assemble import assemble
>>> training = assemble(zoo.build("linear", shape=(4,), classes=3), optimizer="momentum")
>>> [output.name for output in training.train.graph.output][:3]
['loss/cross_entropy', 'loss', 'correct']
>>> training.manifest["hyper"]
{'weight/cross_entropy': 1.0, 'learning_rate': 0.1, 'momentum': 0.9}
"""
