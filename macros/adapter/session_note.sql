{#
    What this session of Spark has made, or found to be, of this text, so that a process that builds again and again does
    so once. On a cluster each of dbt's connections is a session of its own.
#}
{% macro is_noted(relation, text) -%}
    {{ return(run_query('set ' ~ note_key(relation)).rows[0]['value'] == local_md5(text)) }}
{%- endmacro %}


{% macro note(relation, text) -%}
    {%- do run_query('set ' ~ note_key(relation) ~ ' = ' ~ local_md5(text)) -%}
{%- endmacro %}


{% macro note_key(relation) -%}
    {{ return('medallion.made.' ~ relation.schema ~ '.' ~ relation.identifier) }}
{%- endmacro %}
