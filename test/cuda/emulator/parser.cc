#include "parser.h"
#include "token_reader.h"

#include <algorithm>
#include <cstring>

namespace emulator {
namespace {

struct Parser : TokenReader {
  Module module;

  std::vector<Variable> parameter_list() {
    std::vector<Variable> result;
    expect('(');
    if (accept(')')) return result;
    do {
      std::string_view text = word("'.param' or '.reg'");
      Space space;
      bool is_register;
      if (!space_named(text, space, is_register) || (!is_register && space != Space::parameter))
        invalid(peek().line, "expected '.param' or '.reg', found '" + std::string(text) + "'");
      result.push_back(variable(Space::parameter, is_register));
    } while (accept(','));
    expect(')');
    return result;
  }

  void three(uint32_t (&values)[3]) {
    for (uint32_t& value : values) value = 1;
    for (int i = 0; i < 3; ++i) {
      values[i] = static_cast<uint32_t>(integer("a number of threads"));
      if (i == 2 || !accept(',')) break;
    }
  }

  void pragma(uint32_t line) { // may change how code is compiled, not what it computes
    do {
      if (peek().kind != Token::Kind::string) unexpected("a string");
      std::string_view text = next().text;
      if (text != "nounroll" && text.substr(0, 12) != "used_bytes_m")
        invalid(line, "unknown pragma \"" + std::string(text) + "\"");
    } while (accept(','));
    expect(';');
  }

  void skip_location() { // .loc 1 20 3 [, function_name $L__info0, inlined_at 1 30 4]
    uint32_t line = peek().line;
    while (peek().line == line && peek().kind != Token::Kind::end) next();
  }

  void statement(Function& function) {
    Statement result;
    const Token& token = peek();
    result.line = token.line;
    if (accept('{')) {
      result.kind = Statement::Kind::open;
    } else if (token.kind == Token::Kind::word && peek(1).is(':')) {
      result.kind = Statement::Kind::label;
      result.name = next().text;
      next();
    } else if (token.kind == Token::Kind::word && token.text[0] == '.') {
      std::string_view text = next().text;
      if (text == ".loc") return skip_location();
      if (text == ".pragma") return pragma(result.line);
      if (text == ".branchtargets") { // the labels of brx.idx, found by the label before them
        result.name = text;
        do result.operands.push_back(operand());
        while (accept(','));
        expect(';');
        function.body.push_back(std::move(result));
        return;
      }
      bool external = text == ".extern";
      if (external) text = word("a directive");
      Space space = Space::local;
      bool is_register = false;
      if (!space_named(text, space, is_register))
        invalid(result.line, "unknown directive '" + std::string(text) + "' in a function");
      do {
        function.variables.push_back(variable(space, is_register));
        Variable& declared = function.variables.back();
        // `.reg .b32 %a, %b;`: the type holds for the names that follow.
        if (result.kind == Statement::Kind::variable) {
          const Variable& before = function.variables[function.variables.size() - 2];
          if (declared.type == Type::b8 && is_register) declared.type = before.type;
        }
        declared.external = external;
        if (!is_register) initialize(declared);
        result.kind = Statement::Kind::variable;
        result.variable = static_cast<uint32_t>(function.variables.size() - 1);
        function.body.push_back(result);
      } while (accept(','));
      expect(';');
      return;
    } else {
      if (accept('@')) {
        result.invert = accept('!');
        result.guard = word("a predicate");
      }
      result.name = word("an instruction");
      if (!peek().is(';')) {
        do result.operands.push_back(operand());
        while (accept(','));
      }
      expect(';');
    }
    function.body.push_back(std::move(result));
  }

  void function(bool entry) {
    Function result;
    result.entry = entry;
    result.line = peek().line;
    if (!entry && peek().is('(')) result.results = parameter_list();
    result.name = word("a function's name");
    if (peek().is('(')) result.parameters = parameter_list();
    while (peek().kind == Token::Kind::word) {
      uint32_t line = peek().line;
      std::string_view text = next().text;
      uint32_t ignored[3];
      if (text == ".maxntid")
        three(result.max_threads);
      else if (text == ".reqntid")
        three(result.required_threads);
      else if (text == ".minnctapersm" || text == ".maxnreg")
        three(ignored);
      else if (text == ".noreturn")
        continue;
      else if (text == ".pragma")
        pragma(line);
      else
        invalid(line, "unknown directive '" + std::string(text) + "' of a function");
    }
    if (accept('{')) {
      result.defined = true;
      int depth = 1;
      for (;;) {
        if (peek().kind == Token::Kind::end) unexpected("'}'");
        if (peek().is('{')) ++depth;
        if (peek().is('}')) {
          if (--depth == 0) break;
          Statement close;
          close.kind = Statement::Kind::close;
          close.line = next().line;
          result.body.push_back(close);
          continue;
        }
        statement(result);
      }
      next();
    } else {
      expect(';');
    }
    module.functions.push_back(std::move(result));
  }

  void run() {
    bool external = false;
    if (!peek().is(".version")) unexpected("'.version' at the begin of the module");
    while (peek().kind != Token::Kind::end) {
      uint32_t line = peek().line;
      std::string_view text = word("a directive");
      Space space = Space::global;
      bool is_register = false;
      if (text == ".version") {
        next();
      } else if (text == ".target") {
        do {
          std::string_view name = word("a target");
          if (name.substr(0, 3) == "sm_")
            module.target = std::atoi(std::string(name.substr(3)).c_str());
          else if (name != "debug")
            invalid(line, "unknown target '" + std::string(name) + "'");
        } while (accept(','));
      } else if (text == ".address_size") {
        if (integer("an address size") != 64) invalid(line, "only 64-bit addresses are supported");
      } else if (text == ".visible" || text == ".weak" || text == ".common") {
        continue;
      } else if (text == ".extern") {
        external = true;
        continue;
      } else if (text == ".file" || text == ".loc") {
        skip_location();
      } else if (text == ".section") { // debugging information
        while (!peek().is('{') && peek().kind != Token::Kind::end) next();
        while (!peek().is('}') && peek().kind != Token::Kind::end) next();
        expect('}');
      } else if (text == ".pragma") {
        pragma(line);
      } else if (text == ".entry" || text == ".func") {
        while (accept(".noreturn")) {
        }
        function(text == ".entry");
      } else if (space_named(text, space, is_register) && !is_register && space != Space::parameter) {
        if (space == Space::local) invalid(line, "a .local variable must be in a function");
        Variable result = variable(space, false);
        result.external = external;
        initialize(result);
        expect(';');
        module.variables.push_back(std::move(result));
      } else {
        invalid(line, "unknown directive '" + std::string(text) + "'");
      }
      external = false;
    }
  }
};

} // namespace

Module parse_module(const std::vector<Token>& tokens) {
  Parser parser{TokenReader(tokens), {}};
  parser.run();
  return std::move(parser.module);
}

} // namespace emulator
