create schema warm_up;
create table warm_up.events using delta as
select id, cast(id as string) as name, timestamp_micros(id) as at, date '2024-03-04' as day, array(id) as ids from range(100);
insert into warm_up.events select id + 100, 'x', timestamp '2024-03-04 00:00:00', date '2024-03-04', array(1, 2) from range(10);
merge into warm_up.events as target using (select * from warm_up.events where id < 5) as source on target.id = source.id
when matched and source.id = 1 then delete when matched then update set * when not matched then insert *;
create or replace temporary view numbered as
select *, row_number() over (partition by name order by id) as number, lag(id) over (partition by name order by at) as before from warm_up.events;
select day, count(*), count_if(number = 1), count(distinct name), min(struct(id, name)), array_sort(collect_list(name)) from numbered group by day;
select * from numbered left anti join warm_up.events on numbered.id = warm_up.events.id and warm_up.events.day >= date '2024-03-04';
select from_json('{"a":1}', 'map<string,string>')['a'], regexp_replace(name, '[^a-z]+', '_'), unbase64('eA==') from warm_up.events;
describe history warm_up.events limit 1;
describe table extended warm_up.events;
show table extended in warm_up like '*';
update warm_up.events set name = 'y' where id = 7
