-- SPDX-License-Identifier: MIT
create table t(id integer primary key, k integer, s text);
with recursive c(x) as (select 1 union all select x + 1 from c where x < 1500)
  insert into t select x, (x * 7919) % 10007, 'row ' || x from c;
create index i on t(k);
select count(*), sum(a.k) from t a join t b on a.k = b.k + 1;
select s, k from t where s like '%99%' order by k limit 5;
update t set k = k + 1 where id % 3 = 0;
select sum(k) from t;
