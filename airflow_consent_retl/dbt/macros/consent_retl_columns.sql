{#- Written by consent-retl: copy it into the macros of a dbt project, or let `consent-retl dbt-tests` do so. -#}

{#
  A query that returns one row for each problem of columns with consent: the name of the problem, the name of the column
  and the number of rows. It never returns a value.

  columns: by name, {"types": [...], "values": [...], "max_null_share": 0.1}. A name fits in any case. Types are
  `boolean`, `integer`, `text` and `json`. Without `values`, and without `max_null_share`, there is no such check.
#}
{% macro consent_retl_columns(relation, columns) %}
  {%- set found = {} -%}
  {%- if execute -%}
    {%- for column in adapter.get_columns_in_relation(relation) -%}
      {%- do found.update({column.name | lower: column}) -%}
    {%- endfor -%}
  {%- endif -%}
  {%- set checks = [] -%}
  {%- for name, expected in columns.items() if execute -%}
    {%- set column = found.get(name | lower) -%}
    {%- if column is none -%}
      {%- do checks.append(consent_retl_problem('missing_column', name, '1')) -%}
    {%- elif consent_retl_type(column) not in expected['types'] -%}
      {%- do checks.append(consent_retl_problem('wrong_type', name, '1')) -%}
    {%- else -%}
      {%- set quoted = adapter.quote(column.name) -%}
      {%- if expected.get('values') -%}
        {%- set literals = [] -%}
        {%- for value in expected['values'] -%}
          {%- do literals.append(value | string if value is number else dbt.string_literal(dbt.escape_single_quotes(value))) -%}
        {%- endfor -%}
        {%- set unknown = quoted ~ ' is not null and ' ~ quoted ~ ' not in (' ~ literals | join(', ') ~ ')' -%}
        {%- do checks.append(consent_retl_problem(
          'unknown_value', name, '(select count(*) from ' ~ relation ~ ' where ' ~ unknown ~ ')'
        )) -%}
      {%- endif -%}
      {%- if expected.get('max_null_share') is not none -%}
        {%- set nulls = '(select count(*) - count(' ~ quoted ~ ') from ' ~ relation ~ ')' -%}
        {%- set most = '(select ' ~ expected['max_null_share'] ~ ' * count(*) from ' ~ relation ~ ')' -%}
        {%- do checks.append(consent_retl_problem(
          'null_share', name, 'case when ' ~ nulls ~ ' > ' ~ most ~ ' then ' ~ nulls ~ ' else 0 end'
        )) -%}
      {%- endif -%}
    {%- endif -%}
  {%- endfor -%}
  {%- if not checks -%}
    {%- do checks.append(consent_retl_problem('none', '', '0')) -%}
  {%- endif %}
select * from (
  {{ checks | join('\n  union all\n  ') }}
) problems
where affected_rows > 0
{% endmacro %}

{% macro consent_retl_problem(problem, column, count) -%}
  select {{ dbt.string_literal(problem) }} as problem, {{ dbt.string_literal(column) }} as column_name, {{ count }} as affected_rows
{%- endmacro %}

{% macro consent_retl_type(column) -%}
  {%- set type = column.dtype | lower -%}
  {%- if type in ('boolean', 'bool', 'bit') -%}
    {{- return('boolean') -}}
  {%- elif type in ('json', 'jsonb', 'variant', 'super', 'object') or type.startswith('struct') -%}
    {{- return('json') -}}
  {%- elif type in ('string', 'varchar', 'char', 'nvarchar', 'nchar', 'bpchar') or column.is_string() -%}
    {{- return('text') -}}
  {%- elif type in ('int64', 'hugeint', 'tinyint', 'int1', 'number') or column.is_integer() -%}
    {{- return('integer') -}}
  {%- else -%}
    {{- return('other') -}}
  {%- endif -%}
{%- endmacro %}

{#- The same as a generic test: `data_tests: [consent_retl: {arguments: {columns: {...}}}]` on a model. -#}
{% test consent_retl(model, columns) %}
  {{ consent_retl_columns(model, columns) }}
{% endtest %}
