"""Fitting the change-point model to traces, and asking whether it deserves to be believed.

`compare` chooses the treatment of skewed entropies by held-out likelihood and puts simpler models
beside the fit, `views` measures the noise in ways that do not share its assumptions, `predictive`
asks the fitted model for what it was not fitted to, `statuses` says what may be read, `fit` is all
of it for one trace file. `check` does it where the truth is known, in the `worlds`.
"""
