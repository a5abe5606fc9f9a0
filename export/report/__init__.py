"""What a bundle holds and what it costs.

>>> from export import zoo
>>> from export.report.cost import cost
>>> from export.training.assemble import assemble
>>> training = assemble(zoo.build("linear", shape=(4,), classes=3))
>>> cost(training.train, {"N": 8}).macs
{'forward': 96, 'input gradient': 0, 'weight gradient': 96, 'update': 0}
"""
