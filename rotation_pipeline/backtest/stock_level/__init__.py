"""The stock-level backtest: real money, lots, limits, suspensions, fees of the date, dividends and their tax.

Money is counted in integers of 0.01 CNY (fen) and prices in integers of 0.0001 CNY, so that cash and shares reconcile
exactly on every day: cash + long − short = initial + profit − fees − taxes, and the engine refuses to go on otherwise.

``targets`` turns style weights and exposures into target weights, ``orders`` target weights into orders, ``panel``
daily bars into integers, ``kernel`` executes a month session by session, ``account`` carries a book from month to month,
``engine`` runs the months, ``measures`` sums them up.
"""
