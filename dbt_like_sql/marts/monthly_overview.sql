/*
description: "One line per month: market, regime, what the rotation held over the next month, and what it earned this month"
materialized: view
key: [month]
columns:
  month: {type: DATE, unit: date, meaning: "month"}
  index_return: {type: DOUBLE, unit: fraction per month, meaning: "return of the benchmark index", missing: "first month stored"}
  regime: {type: VARCHAR, unit: category, meaning: "regime at the close, filtered", missing: "too little history"}
  p_bear: {type: DOUBLE, unit: probability, meaning: "filtered probability of the bear regime", missing: "too little history"}
  weight_mom: {type: DOUBLE, unit: fraction, meaning: "weight of momentum from this close on"}
  weight_val: {type: DOUBLE, unit: fraction, meaning: "weight of value from this close on"}
  weight_qlty: {type: DOUBLE, unit: fraction, meaning: "weight of quality from this close on"}
  weight_vol: {type: DOUBLE, unit: fraction, meaning: "weight of low volatility from this close on"}
  weight_size: {type: DOUBLE, unit: fraction, meaning: "weight of small size from this close on"}
  turnover: {type: DOUBLE, unit: fraction, meaning: "one-way turnover of the weights at this close"}
  net_return: {type: DOUBLE, unit: fraction per month, meaning: "net return of the rotation in the month", missing: "before the first month of the backtest"}
  equal_weight_return: {type: DOUBLE, unit: fraction per month, meaning: "net return of static equal weight in the month", missing: "before the first month of the backtest"}
  excess_return: {type: DOUBLE, unit: fraction per month, meaning: "difference of the two", missing: "before the first month of the backtest"}
  net_value: {type: DOUBLE, unit: ratio, meaning: "compounded net return of the rotation", missing: "before the first month of the backtest"}
*/
WITH held AS (
    SELECT
        month,
        MAX(CASE WHEN style = 'MOM' THEN weight END) AS weight_mom,
        MAX(CASE WHEN style = 'VAL' THEN weight END) AS weight_val,
        MAX(CASE WHEN style = 'QLTY' THEN weight END) AS weight_qlty,
        MAX(CASE WHEN style = 'VOL' THEN weight END) AS weight_vol,
        MAX(CASE WHEN style = 'SIZE' THEN weight END) AS weight_size
    FROM marts.weights
    WHERE strategy = 'rotation'
    GROUP BY month
)
SELECT
    h.month,
    i.ret AS index_return,
    r.regime,
    r.p_bear,
    h.weight_mom,
    h.weight_val,
    h.weight_qlty,
    h.weight_vol,
    h.weight_size,
    b.turnover,
    s.net_return,
    e.net_return AS equal_weight_return,
    s.net_return - e.net_return AS excess_return,
    s.net_value
FROM held AS h
LEFT JOIN intermediate.index_monthly AS i ON i.month = h.month
LEFT JOIN marts.regimes AS r ON r.month = h.month AND r.detector = 'hmm'
LEFT JOIN marts.books AS b ON b.month = h.month AND b.strategy = 'rotation'
LEFT JOIN marts.backtest AS s ON s.month = h.month AND s.strategy = 'rotation'
LEFT JOIN marts.backtest AS e ON e.month = h.month AND e.strategy = 'equal_weight'
