# needs: nothing
# A custom kind from its definition to its end.
group="k$RANDOM.example.com"
cat >crd.yaml <<YAML
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.$group}
spec:
  group: $group
  scope: Namespaced
  names: {plural: gears, singular: gear, kind: Gear, shortNames: [gr], categories: [machinery]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.teeth, statusReplicasPath: .status.teeth}
    selectableFields: [{jsonPath: .spec.colour}]
    additionalPrinterColumns:
    - {name: Teeth, type: integer, jsonPath: .spec.teeth}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Colour, type: string, jsonPath: .spec.colour, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            description: What the gear shall be.
            type: object
            required: [teeth]
            x-kubernetes-validations:
            - {rule: "self.teeth % 2 == 0", message: teeth come in pairs}
            properties:
              teeth: {description: How many., type: integer, minimum: 2, maximum: 100}
              colour: {type: string, enum: [red, blue], default: red}
              size: {type: string, x-kubernetes-validations: [{rule: self == oldSelf, message: size is for ever}]}
          status:
            type: object
            properties:
              teeth: {type: integer}
              conditions:
                type: array
                items: {type: object, properties: {type: {type: string}, status: {type: string}}}
YAML
prints "customresourcedefinition.apiextensions.k8s.io/gears.$group created" kubectl apply -f crd.yaml
shows "condition met" kubectl wait --for=condition=Established "crd/gears.$group" --timeout=20s
becomes "gears gr $group/v1 true Gear" kubectl api-resources --api-group="$group"
cat >gear.yaml <<YAML
apiVersion: $group/v1
kind: Gear
metadata: {name: g}
spec: {teeth: 4, size: big}
YAML
becomes "gear.$group/g" kubectl apply -f gear.yaml
prints "gear.$group/g unchanged" kubectl apply -f gear.yaml
prints "" kubectl diff -f gear.yaml
shows "NAME TEETH READY AGE" kubectl get gears
matches "g 4 [0-9]+s" kubectl get gr
matches "NAME TEETH READY COLOUR AGE g 4 red [0-9]+s" bash -c 'kubectl get gear g -o wide | tr "\n" " " | tr -s " "'
matches "g 4 [0-9]+s" kubectl get machinery
prints "gear.$group/g" kubectl get "gears.$group" -o name
prints "gear.$group/g" kubectl get "gears.v1.$group" -o name
prints "gear.$group/g" kubectl get gears --field-selector spec.colour=red -o name
prints "" kubectl get gears --field-selector spec.colour=blue -o name
becomes "What the gear shall be." kubectl explain gear.spec
shows "teeth <integer> -required-" kubectl explain gear.spec
matches "ENUM: red" bash -c 'kubectl explain gear.spec.colour | tr "\n" " " | tr -s " "'
shows "teeth: 4" bash -c "kubectl describe gear g | tr -s ' ' | tr 'T' 't'"

refused 'The Gear "g" is invalid: spec: Invalid value:' kubectl patch gear g --type=merge -p '{"spec":{"teeth":5}}'
refused "teeth come in pairs" kubectl patch gear g --type=merge -p '{"spec":{"teeth":5}}'
refused "spec.teeth: Invalid value: 200: spec.teeth in body should be less than or equal to 100" \
    kubectl patch gear g --type=merge -p '{"spec":{"teeth":200}}'
refused 'spec.colour: Unsupported value: "green": supported values: "red", "blue"' \
    kubectl patch gear g --type=merge -p '{"spec":{"colour":"green"}}'
refused "size is for ever" kubectl patch gear g --type=merge -p '{"spec":{"size":"small"}}'
refused 'unknown field "spec.tooth"' kubectl apply -f - <<<"$(sed 's/teeth: 4/teeth: 4, tooth: 1/' gear.yaml)"
refused 'spec.teeth: Required value' kubectl apply -f - <<<"$(sed 's/teeth: 4, //; s/name: g/name: h/' gear.yaml)"
refused 'is not supported by' kubectl patch gear g -p '{"spec":{"teeth":6}}' --type=strategic
prints "gear.$group/g patched" kubectl patch gear g --type=merge --subresource=status \
    -p '{"status":{"teeth":4,"conditions":[{"type":"Ready","status":"True"}]}}'
shows "condition met" kubectl wait gear/g --for=condition=Ready --timeout=10s
matches "g 4 True [0-9]+s" kubectl get gear g
prints "gear.$group/g scaled" kubectl scale gear g --replicas=6
prints "6" kubectl get gear g -o jsonpath='{.spec.teeth}'
EDITOR="sed -i s/teeth:\ 6/teeth:\ 8/" prints "gear.$group/g edited" kubectl edit gear g
prints "3" kubectl get gear g -o jsonpath='{.metadata.generation}'
shows "created" kubectl create -f - <<<"$(sed 's/name: g/generateName: g-/' gear.yaml)"
prints "gear.$group/g serverside-applied" kubectl apply --server-side --force-conflicts -f gear.yaml

refused 'must be spec.names.plural+"."+spec.group' kubectl create -f - <<<"$(sed 's/metadata: {name: /&x/' crd.yaml)"
matches "deleted" kubectl delete gears --all
matches "\"gears.$group\" deleted" kubectl delete crd "gears.$group"
becomes "" kubectl api-resources --api-group="$group" -o name
refused "the server doesn't have a resource type" kubectl get gears
