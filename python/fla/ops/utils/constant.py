"""Constants of base-2 exponentials."""

__all__ = ["RCP_LN2", "LN2"]

LN2 = 0.6931471805599453
RCP_LN2 = 1.4426950408889634  # 1 / log(2)
