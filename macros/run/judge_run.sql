{#
    Holds what the run left to the thresholds and writes the verdicts to the audit. Gives what was breached, as
    sentences; each threshold is told with its numbers either way.
#}
{% macro judge_run(numbers) -%}
    {%- set breaches = [] -%}
    {%- for verdict in [judge_enrichment()] + judge_rejections(numbers) -%}
        {%- if verdict.status == 'breached' -%}
            {%- do breaches.append(verdict.sentence) -%}
            {%- do exceptions.warn(verdict.sentence) -%}
        {%- else -%}
            {%- do log(verdict.sentence, info=true) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(breaches) }}
{%- endmacro %}


{% macro judge_enrichment() -%}
    {%- set least = threshold('minimum_match_rate') -%}
    {%- set gold = api.Relation.create(schema='gold', identifier='enriched_driver_events') -%}
    {%- set counts = {'events': 0, 'matched': 0} -%}
    {%- if adapter.get_relation(none, gold.schema, gold.identifier) is not none -%}
        {%- set counts = run_query('select count(*) as events, count_if(is_company_matched) as matched from ' ~ gold).rows[0] -%}
    {%- endif -%}
    {%- set rate = counts['matched'] / counts['events'] if counts['events'] else 1 -%}
    {%- set status = 'breached' if rate < least else 'ok' -%}
    {%- do run_query(
        'insert into ' ~ source('audit', 'enrichment_audit') ~ ' (run_id, events, matched, match_rate, threshold, status)'
        ~ " values ('" ~ invocation_id ~ "', " ~ counts['events'] ~ ', ' ~ counts['matched'] ~ ', ' ~ rate ~ 'd, ' ~ least ~ "d, '" ~ status ~ "')"
    ) -%}
    {{ return({'status': status, 'sentence':
        percent(rate) ~ ' of ' ~ '{:,}'.format(counts['events']) ~ ' events have a known company, wanted are at least ' ~ percent(least)
        ~ (': audit.unmatched_companies names those that are missing.' if status == 'breached' else '.')
    }) }}
{%- endmacro %}


{% macro judge_rejections(numbers) -%}
    {%- set up_to = numbers.get('model.medallion.source_file_audit', 0) -%}
    {%- set audit = source('audit', 'rejection_audit') -%}
    {%- set judged = {} -%}
    {%- for row in run_query(
        'select feed, up_to_load_id from ' ~ audit ~ ' where run_id = (select max_by(run_id, started_at) from '
        ~ source('audit', 'pipeline_runs') ~ " where status = 'succeeded')"
    ).rows -%}
        {%- do judged.update({row['feed']: row['up_to_load_id']}) -%}
    {%- endfor -%}
    {%- set after = {} -%}
    {%- for feed in ['driver_events', 'companies'] -%}
        {%- do after.update({feed: [judged.get(feed, 0), up_to] | min}) -%}
    {%- endfor -%}
    {%- set found = {} -%}
    {%- if up_to > after.values() | min and adapter.get_relation(none, 'audit', 'source_file_audit') is not none -%}
        {%- for row in run_query(
            'select feed, sum(records) as records, sum(rejected) as rejected from audit.source_file_audit'
            ~ " where _load_id > if(feed = 'companies', " ~ after.companies ~ ', ' ~ after.driver_events ~ ') and _load_id <= ' ~ up_to
            ~ ' and _load_id > ' ~ after.values() | min ~ ' group by feed'
        ).rows -%}
            {%- do found.update({row['feed']: row}) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- set verdicts = [] -%}
    {%- set rows = [] -%}
    {%- for feed in after -%}
        {%- set most = threshold('maximum_rejected_' ~ feed) -%}
        {%- set counts = found.get(feed, {'records': 0, 'rejected': 0}) -%}
        {%- set share = counts['rejected'] / counts['records'] if counts['records'] else 0 -%}
        {%- set status = 'breached' if share > most else 'ok' -%}
        {%- do rows.append("('" ~ [invocation_id, feed] | join("', '") ~ "', " ~ [after[feed], up_to, counts['records'], counts['rejected'], share ~ 'd', most ~ 'd'] | join(', ') ~ ", '" ~ status ~ "')") -%}
        {%- do verdicts.append({'status': status, 'sentence':
            percent(share) ~ ' of ' ~ '{:,}'.format(counts['records']) ~ ' new records of ' ~ feed ~ ' are rejected, at most '
            ~ percent(most) ~ ' may be' ~ (': audit.source_file_audit says in which files, and why.' if status == 'breached' else '.')
        }) -%}
    {%- endfor -%}
    {%- do run_query(
        'insert into ' ~ audit ~ ' (run_id, feed, after_load_id, up_to_load_id, records, rejected, rejected_share, threshold, status) values ' ~ rows | join(', ')
    ) -%}
    {{ return(verdicts) }}
{%- endmacro %}


{% macro percent(share) -%}
    {{ return('{:.2%}'.format(share)) }}
{%- endmacro %}


{# A var that must be a share: a number from 0 to 1. #}
{% macro threshold(name) -%}
    {%- set share = var(name) -%}
    {%- if share is not number or share is boolean or share < 0 or share > 1 -%}
        {%- do exceptions.raise_compiler_error('The var ' ~ name ~ ' is ' ~ share ~ ', but must be a number from 0 to 1.') -%}
    {%- endif -%}
    {{ return(share) }}
{%- endmacro %}
