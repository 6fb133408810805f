{{- define "faceblur.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "faceblur.labels" -}}
app.kubernetes.io/name: faceblur
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "faceblur.image" -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end -}}

{{- define "faceblur.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* As docker-compose.yml runs every service: no right but those of an ordinary user. */}}
{{- define "faceblur.careful" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Files of the server and of the check that its probes run. */}}
{{- define "faceblur.tritonTls" -}}
--grpc-use-ssl=true --grpc-use-ssl-mutual=true --grpc-server-cert=/run/certificates/tls.crt --grpc-server-key=/run/certificates/tls.key --grpc-root-cert=/run/certificates/ca.crt
{{- end -}}

{{/* A request that belongs to a trace is traced; of the others, one in a million. */}}
{{- define "faceblur.tritonTracing" -}}
--trace-config=mode=opentelemetry --trace-config=level=TIMESTAMPS --trace-config=rate=1000000 --trace-config=opentelemetry,url={{ .Values.tracing.endpoint }}/v1/traces --trace-config=opentelemetry,resource=service.name=faceblur-triton
{{- end -}}

{{- define "faceblur.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "faceblur.labels" .root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Frames that wait in the detector's queue, in microseconds each, over all servers. */}}
{{- define "faceblur.queue" -}}
{{- $labels := .Values.autoscaling.matchers | default (printf "namespace=%q,service=%q" .Release.Namespace (printf "%s-triton" (include "faceblur.name" .))) -}}
sum(rate(nv_inference_queue_duration_us{model="yolov5_face",{{ $labels }}}[1m])) / clamp_min(sum(rate(nv_inference_request_success{model="yolov5_face",{{ $labels }}}[1m])), 0.001)
{{- end -}}

{{/* The step that builds a plan runs on the GPU that will serve it. */}}
{{- define "faceblur.tritonResources" -}}
{{- $resources := deepCopy .Values.triton.resources -}}
{{- if eq .Values.triton.backend "gpu" -}}
{{- $resources = mergeOverwrite $resources (dict "limits" (dict "nvidia.com/gpu" 1)) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* What `faceblur run` reads. */}}
{{- define "faceblur.cameras" -}}
{{- $demo := dict "demo" (dict "source" "testpattern" "sinks" (list "null")) -}}
{{- $server := dict "address" (printf "dns:///%s-triton:8001" (include "faceblur.name" .)) -}}
{{- if .Values.tls.enabled -}}
{{- $_ := set $server "tls" (dict "root_ca" "/run/certificates/ca.crt" "certificate" "/run/certificates/tls.crt" "key" "/run/certificates/tls.key") -}}
{{- end -}}
{{- toYaml (dict "server" $server "listen" "0.0.0.0:9180" "defaults" .Values.defaults "cameras" (.Values.cameras | default $demo)) -}}
{{- end -}}
