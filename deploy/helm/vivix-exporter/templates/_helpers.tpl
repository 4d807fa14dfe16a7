{{- define "vivix-exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "vivix-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "vivix-exporter.labels" -}}
{{ include "vivix-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "vivix-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "vivix-exporter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* Whether the state is a PostgreSQL, which replicas can share: "true" or nothing. */ -}}
{{- define "vivix-exporter.shared" -}}
{{- $state := default dict .Values.config.state -}}
{{- if or $state.url_env $state.url_file (hasPrefix "postgresql" (default "" $state.url)) -}}
true
{{- end -}}
{{- end -}}

{{- /* The configuration as the pod has it: SQLite lies where the volume is. */ -}}
{{- define "vivix-exporter.config" -}}
{{- $state := default dict .Values.config.state -}}
{{- $config := .Values.config -}}
{{- if not (or $state.url $state.url_env $state.url_file) -}}
{{- $config = mergeOverwrite (deepCopy .Values.config) (dict "state" (merge (dict "url" "sqlite:////var/lib/vivix-exporter/vivix-exporter.db") $state)) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}
