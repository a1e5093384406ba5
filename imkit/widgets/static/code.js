export default part('imkit-code', ({ model, el, say, hear }) => {
    const code = make('pre', { tabindex: '0', 'aria-label': say('load_code_label') });
    const copy = make('button', { type: 'button', text: say('load_copy') });
    const insert = make('button', { type: 'button', text: say('load_insert'), hidden: !window.jupyterapp });
    copy.addEventListener('click', async () => {
        try { await navigator.clipboard.writeText(code.textContent); copy.textContent = say('load_copied'); }
        catch { getSelection().selectAllChildren(code); }  // no right to the clipboard: select it for the reader
    });
    // JupyterLab gives scripts its application only where it was started so.
    insert.addEventListener('click', async () => {
        const app = window.jupyterapp, notebook = app.shell.currentWidget?.content;
        const place = notebook?.widgets?.findIndex(cell => cell.node.contains(el)) ?? -1;
        if (place < 0) return;
        notebook.activeCellIndex = place;
        await app.commands.execute('notebook:insert-cell-below');
        notebook.activeCell.model.sharedModel.setSource(code.textContent);
    });
    const told = said => {
        if (said.do !== 'code') return;
        code.textContent = said.code;
        copy.textContent = say('load_copy');
        el.hidden = !said.code;
    };
    hear('msg:custom', told);
    el.hidden = true;
    el.append(code, make('div', {}, copy, ' ', insert));
    model.send({ do: 'open' });
});
