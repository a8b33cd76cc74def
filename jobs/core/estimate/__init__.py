"""How much memory a training needs on each card, known before it runs: docs/estimates.md explains the formulas."""
