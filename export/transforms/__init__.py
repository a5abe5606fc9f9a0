"""From one model to another: heads, adapters, splits, freezing, batch normalization, a frozen backbone."""
