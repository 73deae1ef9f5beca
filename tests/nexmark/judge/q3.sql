SELECT name, city, state, lots.id
FROM person, (SELECT id, seller FROM auction WHERE category = 10) AS lots
WHERE person.id = lots.seller AND state IN ('OR', 'ID', 'CA')
