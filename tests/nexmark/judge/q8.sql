SELECT id, name, make_timestamp(epoch_us(date_time) // 10_000_000 * 10_000_000)
FROM person AS p
WHERE EXISTS (FROM auction AS a WHERE a.seller = p.id AND epoch_us(a.date_time) // 10_000_000 = epoch_us(p.date_time) // 10_000_000)
