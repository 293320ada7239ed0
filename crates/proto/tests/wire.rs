//! The client API keeps its routes, names, numbers and types: programs out there depend on them.
//!
//! `beta9_wire.txt` is the contract, one line per method, field and enum value. To add to the API,
//! change the .proto text and add the new lines; a line that is there stays.

#[cfg(test)]
mod tests {
    use metal9_proto::FILE_DESCRIPTOR_SET;
    use prost::Message as _;
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{
        DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
        FileDescriptorSet, MethodDescriptorProto,
    };

    const CONTRACT: &str = include_str!("beta9_wire.txt");

    #[test]
    fn the_client_api_is_what_installed_clients_expect() {
        let rendered = render(&descriptors());
        let expected: Vec<&str> = CONTRACT.lines().collect();
        let missing: Vec<&&str> =
            expected.iter().filter(|line| !rendered.iter().any(|have| have == *line)).collect();
        let added: Vec<&String> =
            rendered.iter().filter(|line| !expected.contains(&line.as_str())).collect();
        assert!(
            missing.is_empty() && added.is_empty(),
            "proto/beta9 and beta9_wire.txt differ\nin the contract only: {missing:#?}\nin proto/beta9 only: {added:#?}"
        );
    }

    #[test]
    fn a_renumbered_field_is_noticed() {
        let mut descriptors = descriptors();
        let gateway = descriptors.file.iter_mut().find(|file| file.package() == "gateway").unwrap();
        gateway.message_type[1].field[0].number = Some(4242);
        assert_ne!(render(&descriptors), CONTRACT.lines().collect::<Vec<_>>());
    }

    fn descriptors() -> FileDescriptorSet {
        FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap()
    }

    fn render(descriptors: &FileDescriptorSet) -> Vec<String> {
        let mut lines = Vec::new();
        for file in descriptors.file.iter().filter(|file| file.name().starts_with("beta9/")) {
            render_file(file, &mut lines);
        }
        lines.sort();
        lines
    }

    fn render_file(file: &FileDescriptorProto, lines: &mut Vec<String>) {
        let package = file.package();
        for service in &file.service {
            for method in &service.method {
                lines.push(render_method(package, service.name(), method));
            }
        }
        for message in &file.message_type {
            if message.field.is_empty() {
                lines.push(format!("message {package}.{}", message.name()));
            }
            for field in &message.field {
                lines.push(render_field(package, message, field));
            }
        }
        for enumeration in &file.enum_type {
            render_enum(package, enumeration, lines);
        }
    }

    fn render_method(package: &str, service: &str, method: &MethodDescriptorProto) -> String {
        let stream = |streaming| if streaming { "stream " } else { "" };
        format!(
            "rpc /{package}.{service}/{} {}{} -> {}{}",
            method.name(),
            stream(method.client_streaming()),
            absolute(method.input_type()),
            stream(method.server_streaming()),
            absolute(method.output_type()),
        )
    }

    fn render_enum(package: &str, enumeration: &EnumDescriptorProto, lines: &mut Vec<String>) {
        for value in &enumeration.value {
            let enumeration = enumeration.name();
            lines.push(format!(
                "value {package}.{enumeration} {} {}",
                value.number(),
                value.name()
            ));
        }
    }

    fn render_field(
        package: &str,
        message: &DescriptorProto,
        field: &FieldDescriptorProto,
    ) -> String {
        let name = message.name();
        let kind = match map_entry(message, field) {
            Some([key, value]) => format!("map<{}, {}>", type_name(key), type_name(value)),
            None => format!("{}{}", label(message, field), type_name(field)),
        };
        format!("field {package}.{name} {} {} {kind}", field.number(), field.name())
    }

    /// The key and value of a map field, which protobuf describes as a repeated nested message.
    fn map_entry<'a>(
        message: &'a DescriptorProto,
        field: &FieldDescriptorProto,
    ) -> Option<&'a [FieldDescriptorProto; 2]> {
        let wanted = field.type_name().rsplit('.').next()?;
        let entry = message.nested_type.iter().find(|nested| nested.name() == wanted)?;
        entry.options.as_ref().is_some_and(|options| options.map_entry()).then_some(())?;
        entry.field.as_slice().try_into().ok()
    }

    fn label(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
        if field.label() == Label::Repeated {
            return "repeated ".to_owned();
        }
        if field.proto3_optional() {
            return "optional ".to_owned();
        }
        match field.oneof_index.and_then(|index| message.oneof_decl.get(index as usize)) {
            Some(oneof) => format!("oneof {} ", oneof.name()),
            None => String::new(),
        }
    }

    fn type_name(field: &FieldDescriptorProto) -> String {
        match field.r#type() {
            Type::Message | Type::Enum => absolute(field.type_name()).to_owned(),
            scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
        }
    }

    fn absolute(name: &str) -> &str {
        name.trim_start_matches('.')
    }
}
