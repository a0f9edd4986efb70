//===- CHeader.cpp - a C header for an object file of kernels -------------===//
#include "fla/Target/CHeader/CHeader.h"
#include "CommonText.h"
#include "fla/Dialect/Tile/IR/Tile.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace fla;
using tile::BufferKind;

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

static bool isReserved(StringRef name) {
  static const llvm::StringSet<> words = {
      "alignas", "alignof", "and",      "asm",    "auto",   "bool",   "break",    "case",     "catch",   "char",   "class",    "const",
      "constexpr", "continue", "default", "delete", "do",   "double", "else",     "enum",     "explicit", "extern", "false",   "float",
      "for",     "friend",  "goto",     "if",     "inline", "int",    "long",     "mutable",  "namespace", "new",  "not",      "nullptr",
      "operator", "or",     "private",  "protected", "public", "register", "restrict", "return", "short", "signed", "sizeof",  "static",
      "struct",  "switch",  "template", "this",   "throw",  "true",   "try",      "typedef",  "typeid",  "typename", "typeof", "union",
      "unsigned", "using",  "virtual",  "void",   "volatile", "while", "xor"};
  return words.contains(name);
}

/// `text` with what C does not allow in a name replaced.
static std::string toIdentifier(StringRef text) {
  std::string name;
  for (char c : text)
    name += llvm::isAlnum(c) ? c : '_';
  if (name.empty() || llvm::isDigit(name.front()))
    name = "_" + name;
  return isReserved(name) ? name + "_" : name;
}

static std::string typeName(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

//===----------------------------------------------------------------------===//
// What a buffer holds
//===----------------------------------------------------------------------===//

static StringRef leadingAxes(BufferKind kind) {
  switch (kind) {
  case BufferKind::token:
    return "batch, time, heads";
  case BufferKind::param:
    return "heads";
  case BufferKind::state:
    return "sequence, heads";
  case BufferKind::saved:
    return "chunk slot, heads";
  case BufferKind::value:
    break;
  }
  return "";
}

static std::string describe(tile::BufferType type) {
  std::string text;
  llvm::raw_string_ostream os(text);
  if (type.getKind() == BufferKind::value)
    return "one " + typeName(type.getElementType());
  os << tile::stringifyBufferKind(type.getKind()) << " [" << leadingAxes(type.getKind());
  for (int64_t size : type.getShape())
    os << ", " << size;
  os << "] " << typeName(type.getElementType());
  return text;
}

static std::string roleOf(tile::KernelOp kernel, unsigned i) {
  auto roles = kernel->getAttrOfType<ArrayAttr>("roles");
  if (roles && i < roles.size())
    if (auto role = dyn_cast<StringAttr>(roles[i]))
      return role.str();
  return kernel.getOutputs()[i] ? "output" : "input";
}

/// Each column block stores its share of a gradient; the caller sums them.
static bool isPartial(tile::KernelOp kernel, unsigned i) {
  auto partial = kernel->getAttrOfType<ArrayAttr>("partial");
  auto mark = partial && i < partial.size() ? dyn_cast<BoolAttr>(partial[i]) : BoolAttr();
  return mark && mark.getValue();
}

//===----------------------------------------------------------------------===//
// The header
//===----------------------------------------------------------------------===//

namespace {
class HeaderWriter {
public:
  HeaderWriter(tile::KernelOp kernel, const cpu::KernelInfo &info, raw_ostream &os)
      : kernel(kernel), info(info), os(os), name(kernel.getSymName()) {}
  void write();

private:
  void writeBuffers();
  void writeDriver();
  tile::KernelOp kernel;
  const cpu::KernelInfo &info;
  raw_ostream &os;
  std::string name;
};
} // namespace

void HeaderWriter::writeBuffers() {
  os << "/* The buffers of " << name << ", in the kernel's order. */\ntypedef struct " << name << "_buffers {\n";
  llvm::StringSet<> used;
  for (BlockArgument arg : kernel.getBody().getArguments()) {
    unsigned i = arg.getArgNumber();
    std::string field = toIdentifier(kernel.getArgName(i));
    while (!used.insert(field).second)
      field += "_";
    os << "  FlaBuffer " << field << "; /* " << (kernel.getOutputs()[i] ? "out " : "in  ") << roleOf(kernel, i) << ": "
       << describe(cast<tile::BufferType>(arg.getType())) << (isPartial(kernel, i) ? ", one part a block: sum over the axis after the heads" : "")
       << " */\n";
  }
  os << "} " << name << "_buffers;\n\n";
}

void HeaderWriter::writeDriver() {
  os << "/* One grid point; `workspace` is private to the thread and 64-byte aligned. */\n";
  os << "void " << name << "(const FlaBuffer *buffers, const FlaGridPoint *point, void *workspace);\n";
  os << "enum { " << name << "_chunk = " << info.chunk << ", " << name << "_blocks = " << info.blocks << ", " << name
     << "_workspace_bytes = " << info.workspaceBytes << " };\n\n";
  os << "/* Runs " << name << " over all sequences and heads. Returns 0, or 1 if memory is short. */\n";
  os << "static inline int " << name << "_run(const " << name << "_buffers *buffers, const FlaSizes *sizes) {\n";
  os << "  FlaKernel kernel = {" << name << ", " << info.chunk << ", " << info.blocks << ", " << (info.overChunks ? 1 : 0) << ", "
     << info.workspaceBytes << "};\n";
  os << "  return fla_run_kernel(&kernel, (const FlaBuffer *)buffers, sizes);\n}\n\n";
}

void HeaderWriter::write() {
  writeBuffers();
  writeDriver();
}

static LogicalResult checkName(tile::KernelOp kernel) {
  StringRef name = kernel.getSymName();
  if (toIdentifier(name) != name)
    return mlir::emitError(kernel.getLoc()) << "expected a name that C can spell for a kernel of an object file, got '" << name << "'";
  return success();
}

LogicalResult fla::writeCHeader(ModuleOp module, const cpu::ObjectCode &code, StringRef fileName, raw_ostream &os) {
  std::string guard = StringRef(toIdentifier(fileName)).upper();
  os << "/* " << fileName << " - kernels compiled by fla for this machine; generated, do not edit.\n"
     << " * Link with the object file beside it and with -lm. Gates are natural logarithms.\n"
     << " * bf16 and f16 are stored as 16-bit words. */\n"
     << "#ifndef " << guard << "\n#define " << guard << "\n\n"
     << kCommonHeaderText << "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n";
  for (tile::KernelOp kernel : module.getOps<tile::KernelOp>()) {
    auto info = llvm::find_if(code.kernels, [&](const cpu::KernelInfo &candidate) { return candidate.name == kernel.getSymName(); });
    if (info == code.kernels.end() || failed(checkName(kernel)))
      return failure();
    HeaderWriter(kernel, *info, os).write();
  }
  os << "#ifdef __cplusplus\n}\n#endif\n\n#endif /* " << guard << " */\n";
  return success();
}
